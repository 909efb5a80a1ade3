"""The part of the context that is about the operator's voices."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gpuctl.services.voices import Library
    from gpuctl.services.waiting import Clock


class VoiceContext:
    """Mixed into Context. Voices are the person's own: the same with and without --sim."""

    environ: Mapping[str, str]
    if TYPE_CHECKING:

        @property
        def clock(self) -> Clock: ...
        @property
        def home_state_folder(self) -> Path: ...

    @cached_property
    def data_folder(self) -> Path:
        """What is to be kept and is no configuration: clips of voices."""
        if root := self.environ.get("XDG_DATA_HOME"):
            return Path(root) / "gpuctl"
        import platformdirs  # noqa: PLC0415  only where XDG does not say it

        return Path(platformdirs.user_data_path("gpuctl"))

    def kept_clip(self, name: str) -> Path | None:
        """The clip behind `inputs/<sha256>.wav`; None when it is not one of ours."""
        for folder in ("voices", "emotions"):
            path = self.data_folder / folder / Path(name).name
            if path.is_file():
                return path
        return None

    @cached_property
    def voices(self) -> Library:
        from gpuctl.services.voices import Library  # noqa: PLC0415  only for speech
        from gpuctl.state import State  # noqa: PLC0415  likewise

        memory = State(self.home_state_folder / "state.db")
        return Library(memory, self.data_folder / "voices", self.clock.now)
