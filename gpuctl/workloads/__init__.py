"""The registry of workloads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, cast

from gpuctl.workloads.base import Workload

if TYPE_CHECKING:
    # The one place where each module is held against the protocol.
    from gpuctl.workloads import flux, sd, tts, video, whisper

    _CHECKED: tuple[Workload, ...] = (flux, sd, tts, video, whisper)

NAMES = ("flux", "sd", "tts", "video", "whisper")


class _Registry(Mapping[str, Workload]):
    """Each module is imported when it is asked for: a picture does not wait for the others."""

    def __getitem__(self, name: str) -> Workload:
        if name not in NAMES:
            raise KeyError(name)
        return cast(Workload, import_module(f"gpuctl.workloads.{name}"))

    def __iter__(self) -> Iterator[str]:
        return iter(NAMES)

    def __len__(self) -> int:
        return len(NAMES)

    def __contains__(self, name: object) -> bool:
        return name in NAMES


WORKLOADS: Mapping[str, Workload] = _Registry()
