"""The output of docker (`Step 3/9 : …`), BuildKit (`#7 [3/9] …`) and buildah as steps."""

from __future__ import annotations

import re

from gpuctl.images.engines import Voice

_STEPS = (
    re.compile(r"(?:Step|STEP) (\d+)/(\d+) ?: (.*)"),
    re.compile(r"#\d+ \[(?:\S+ +)?(\d+)/(\d+)\] (.*)"),
)
_PUSHED = re.compile(r"([0-9a-f]{12}): (Preparing|Waiting|Pushing|Pushed|Layer already|Mounted)")
_COPYING = re.compile(r"Copying (?:blob|config) sha256:([0-9a-f]{12})")
MOST_CHARACTERS = 100


class Building:
    """Turns each step into a phase of the report. Every line also goes to the details."""

    def __init__(self, voice: Voice) -> None:
        self._voice = voice

    def __call__(self, line: str) -> None:
        self._voice.detail(line)
        for pattern in _STEPS:
            if found := pattern.match(line):
                text = " ".join(found[3].split())
                self._voice.report.step(f"[{found[1]}/{found[2]}] {_short(text)}")
                return


class Pushing:
    """Counts the layers that are up. A pipe gets no bytes from docker, only a line per layer."""

    def __init__(self, voice: Voice) -> None:
        self._voice = voice
        self._layers: dict[str, bool] = {}

    def __call__(self, line: str) -> None:
        self._voice.detail(line)
        if found := _PUSHED.match(line):
            self._layers[found[1]] = found[2] in ("Pushed", "Layer already", "Mounted")
        elif found := _COPYING.match(line):
            self._layers.setdefault(found[1], True)
            self._voice.report.step(f"pushing {len(self._layers)}: {found[1]}")
            return
        else:
            if "Retrying in" in line:
                self._voice.report.step(f"the registry hesitates: {line}")
            return
        done = sum(self._layers.values())
        if done:
            self._voice.report.progress("pushing layers", done, len(self._layers))


def _short(text: str) -> str:
    return text if len(text) <= MOST_CHARACTERS else f"{text[: MOST_CHARACTERS - 1]}…"
