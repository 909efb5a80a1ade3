"""What the system log of a machine that does not come up means, and what to do about it: pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

# A registry may stumble once; what is said again is meant.
SAID_AGAIN = 2
RESTARTS = 3


@dataclass(frozen=True, slots=True)
class Cause:
    """`is_order`: another machine would meet the same, so none is tried."""

    text: str
    hint: str
    is_order: bool
    line: str


@dataclass(frozen=True, slots=True)
class _Sign:
    pattern: re.Pattern[str]
    text: str
    hint: str
    is_order: bool
    times: int = SAID_AGAIN


# The order counts: "access denied" also says "does not exist" (runpod.md §13).
_SIGNS = (
    _Sign(
        re.compile(r"denied|unauthorized|authentication required|require authorization", re.I),
        "the registry does not let this account pull the image",
        "add the registry's login in RunPod's console (Settings → Container Registry), or make the "
        "image public",
        is_order=True,
    ),
    _Sign(
        re.compile(
            r"manifest unknown|manifest for .* not found|name unknown|invalid reference", re.I
        ),
        "there is no such image",
        "check its name and tag: --image REF, or gpuctl config show flux.image",
        is_order=True,
    ),
    _Sign(
        re.compile(r"no space left on device", re.I),
        "the container disk is too small for the image",
        "gpuctl config set flux.disk_gb to the unpacked image and 10 GB more",
        is_order=True,
    ),
    _Sign(
        re.compile(r"unsatisfied condition: cuda|nvidia-container-cli: requirement error"
                   r"|driver version is insufficient", re.I),
        "the driver of this host is too old for the image",
        "gpuctl config set flux.min_cuda to the CUDA of the image: only such hosts are tried then",
        is_order=False,
        times=1,
    ),
    _Sign(
        re.compile(r"^start(ing)? container", re.I),
        "its container ends and is started again and again",
        "see its last lines above; does the image keep running, and does it start sshd?",
        is_order=False,
        times=RESTARTS,
    ),
)  # fmt: skip

_CREATED = re.compile(r"^create container", re.I)


def cause_of(lines: Sequence[str]) -> Cause | None:
    """What the newest lines of the system log say is wrong; None when nothing does."""
    recent = _since_creation(lines)
    for sign in _SIGNS:
        said = [line for line in recent if sign.pattern.search(line)]
        if len(said) >= sign.times:
            return Cause(sign.text, sign.hint, sign.is_order, said[-1])
    return None


def _since_creation(lines: Sequence[str]) -> list[str]:
    """What earlier lives of the container said is past: a restart is not a crash."""
    made = [place for place, line in enumerate(lines) if _CREATED.search(line)]
    return list(lines[made[-1] :] if made else lines)
