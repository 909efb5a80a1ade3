"""The tables of the FLUX workload as records: models, presets, sizes, guidances."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from difflib import get_close_matches
from typing import Any

from gpuctl.errors import ConfigError, UsageError
from gpuctl.models import Json


@dataclass(frozen=True, slots=True)
class Model:
    """One row of the table `models`: what to load and how to drive it.

    `text_tokens` is what the text encoder reads (T5: 512, schnell 256); `clip_tokens` 77 or None
    (workloads.md §5.2). `vram_gb` is bf16 resident.
    """

    name: str
    repo: str
    pipeline: str
    title: str = ""
    revision: str | None = None
    img2img: str | None = None
    steps: int | dict[str, int] | None = None
    guidance: float | None = None
    multiple: int = 16
    max_pixels: int = 8_294_400
    clip_tokens: int | None = None
    text_tokens: int = 512
    vram_gb: int = 24
    cache: str | None = None
    compile: bool = False
    gated: bool = False
    licence: str = "unknown"
    licence_url: str = ""

    def to_json(self) -> Json:
        return asdict(self)

    def steps_for(self, preset: str, steps: int) -> int:
        """The model's own count for `preset` where it has one, else `steps`."""
        if isinstance(self.steps, dict):
            return int(self.steps.get(preset, steps))
        return steps if self.steps is None else int(self.steps)


@dataclass(frozen=True, slots=True)
class Tables:
    """The open tables of the configuration, as they are in the files."""

    models: Mapping[str, Any]
    presets: Mapping[str, Any]
    sizes: Mapping[str, Any]
    guidances: Mapping[str, Any]

    def model(self, name: str) -> Model:
        """Raises UsageError for an unknown name, ConfigError for a row that lacks something."""
        row = _row(self.models, name, "model", "models")
        known = {item.name for item in fields(Model)} - {"name"}
        if not isinstance(row, dict) or not {"repo", "pipeline"} <= set(row):
            raise ConfigError(f"models.{name} needs at least repo and pipeline")
        if unknown := sorted(set(row) - known):
            near = get_close_matches(unknown[0], known, n=1)
            raise ConfigError(
                f"models.{name}: unknown key {unknown[0]}",
                hint=f"did you mean {near[0]}?" if near else None,
            )
        return Model(name=name, **{"title": name, **row})

    def preset(self, name: str) -> Mapping[str, Any]:
        row = _row(self.presets, name, "preset", "presets")
        if not isinstance(row, dict) or not isinstance(row.get("steps"), int):
            raise ConfigError(f"presets.{name} needs steps, a whole number")
        return row

    def size(self, text: str) -> tuple[int, int]:
        """Pixels (width, height) of a name of the table, or of WIDTHxHEIGHT."""
        width, separator, height = str(self.sizes.get(text, text)).lower().partition("x")
        if not (separator and width.strip().isdigit() and height.strip().isdigit()):
            names = ", ".join(self.sizes)
            raise UsageError(
                f"'{text}' is not a size",
                hint=f"use WIDTHxHEIGHT, for example 1024x768, or {names}",
            )
        return int(width), int(height)

    def guidance(self, name: str) -> float:
        return float(_row(self.guidances, name, "guidance", "guidances"))


def _row(table: Mapping[str, Any], name: str, kind: str, table_name: str) -> Any:
    if name in table:
        return table[name]
    near = get_close_matches(name, list(table), n=1)
    meant = f"did you mean {near[0]}? " if near else ""
    raise UsageError(
        f"there is no {kind} called '{name}'",
        hint=f"{meant}known: {', '.join(table)} (table `{table_name}` of the configuration)",
    )
