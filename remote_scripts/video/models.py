"""The models on the volume: where they lie, which ones are known, and how a missing one comes.

`python -m video.models` is what the image's entrypoint calls: the default models, whole.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

from video import downloads, web
from worker import report
from worker.report import Failure

# ComfyUI's name of a folder → its name on the volume (extra_model_paths.yaml has the same).
VOLUME_FOLDERS = {
    "diffusion_models": "models",
    "loras": "loras",
    "clip_vision": "clip_vision",
    "text_encoders": "text_encoders",
    "vae": "vae",
}
# Nothing that is unpickled: such a file from anywhere could run code.
SUFFIXES = (".safetensors", ".sft", ".gguf")
VOLUME = "/runpod-volume"
TELL_EVERY_BYTES = 64 << 20

# what is done, bytes so far, bytes in all
Say = Callable[[str, int, "int | None"], None]


@dataclass(frozen=True)
class Model:
    """A known file. `gigabytes` is about its size, decimal."""

    name: str
    folder: str
    url: str
    gigabytes: float
    what: str
    is_default: bool


@lru_cache(maxsize=1)
def catalogue() -> dict[str, Model]:
    """The files that the workflows here need, by name (workloads.md §4.3, §4.4)."""
    rows = json.loads((Path(__file__).parent / "models.json").read_text(encoding="utf-8"))
    return {name: Model(name, **row) for name, row in rows.items()}


def volume() -> Path:
    """The folder that outlives the container: MODEL_VOLUME, /runpod-volume, or the workspace."""
    named = os.environ.get("MODEL_VOLUME")
    if named:
        return Path(named)
    usual = Path(VOLUME)
    return usual if usual.is_dir() else Path(os.environ.get("GPUCTL_WORKSPACE") or "/workspace")


def path_of(folder: str, name: str) -> Path:
    """Where `name` lies, or would. Raises Failure(bad_input) for a name that leads elsewhere."""
    return report.confine(volume() / VOLUME_FOLDERS[folder], name)


def from_url(folder: str, url: str, door: web.Door | None = None) -> str:
    """The file behind `url`, on the volume; gives its name. Raises Failure."""
    name = Path(unquote(urlsplit(url).path)).name
    if not name.endswith(SUFFIXES):
        raise Failure(
            "bad_input",
            f"not a model file: {name or url[:200]!r}",
            f"the address has to end in {', '.join(SUFFIXES)}",
        )
    _bring(downloads.Wanted(url, path_of(folder, name)), _report, door)
    return name


def from_catalogue(name: str, door: web.Door | None = None, say: Say | None = None) -> None:
    """A known model, on the volume. Raises Failure, KeyError when it is not known."""
    model = catalogue()[name]
    _bring(downloads.Wanted(model.url, path_of(model.folder, name)), say or _report, door)


def ensure_defaults(
    names: Iterable[str] | None = None, door: web.Door | None = None, say: Say | None = None
) -> None:
    """Every default model whole on the volume; a damaged one is fetched again. Raises Failure."""
    known = catalogue()
    say = say or _print
    for name in names or [name for name, model in known.items() if model.is_default]:
        path = path_of(known[name].folder, name)
        problem = downloads.damage(path) if path.exists() else None
        if problem:
            say(f"{problem}: it is fetched again", 0, None)
            path.unlink()
        if not path.exists():
            from_catalogue(name, door, say)


def _bring(wanted: downloads.Wanted, say: Say, door: web.Door | None) -> None:
    name, told = wanted.target.name, [-TELL_EVERY_BYTES]

    def tell(done: int, total: int | None) -> None:
        report.check_cancelled()
        if abs(done - told[0]) >= TELL_EVERY_BYTES or done == total:
            told[0] = done
            say(f"fetching {name}", done, total)

    downloads.bring(wanted, tell, door=door)


def _report(text: str, done: int, total: int | None) -> None:
    report.loading("download", text, done, total)


def _print(text: str, done: int, total: int | None) -> None:
    share = f": {done >> 20} of {total >> 20} MB" if total else ""
    print(f"{text}{share}", file=sys.stderr, flush=True)


def main(argv: list[str]) -> int:
    """`[NAME…]`: those, else the default ones. Exit codes: 0 all whole, 1 not."""
    try:
        ensure_defaults(argv or None)
    except Failure as failure:
        print(f"{failure.message}. {failure.remedy}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
