"""An X/Y grid: two axes of values, every pair a picture with the same seed. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any

from gpuctl.errors import UsageError
from gpuctl.workloads.sd import Choices
from gpuctl.workloads.sd_prompt import Lora

MAX_PICTURES = 100
_WHOLE = ("steps", "seed", "clip_skip")
_NUMBERS = ("cfg", "strength")
_TEXTS = ("sampler", "scheduler", "model", "vae")
NAMES = (*_WHOLE, *_NUMBERS, *_TEXTS, "lora:NAME")


@dataclass(frozen=True, slots=True)
class Axis:
    """What varies along one side: a field of Choices, or the weight of a LoRA."""

    name: str
    values: tuple[Any, ...]

    def label(self, value: object) -> str:
        shown = f"{value:g}" if isinstance(value, float) else str(value)
        return f"{self.name} {shown}"


@dataclass(frozen=True, slots=True)
class Cell:
    """One picture of the grid: column, row and the wishes behind it."""

    column: int
    row: int
    choices: Choices


@dataclass(frozen=True, slots=True)
class Grid:
    """`across` runs from left to right, `down` from top to bottom; without it there is one row."""

    across: Axis
    down: Axis | None = None

    @property
    def columns(self) -> list[str]:
        return [self.across.label(value) for value in self.across.values]

    @property
    def rows(self) -> list[str]:
        return [""] if self.down is None else [self.down.label(v) for v in self.down.values]

    def name(self, cell: Cell) -> str:
        """What tells a cell apart from the others: `cfg 2 steps 8`."""
        return f"{self.columns[cell.column]} {self.rows[cell.row]}".strip()

    def cells(self, choices: Choices) -> list[Cell]:
        """Row by row. A model is switched as rarely as the order allows."""
        found = []
        for row, down in enumerate(self.down.values if self.down else (None,)):
            for column, across in enumerate(self.across.values):
                wished = _with(choices, self.across.name, across)
                if self.down is not None:
                    wished = _with(wished, self.down.name, down)
                found.append(Cell(column, row, wished))
        return found


def parse(texts: Sequence[str]) -> Grid:
    """`cfg=2,4,7` and `steps=8,20`: the first runs across, the second down. Raises UsageError."""
    if len(texts) > 2:
        raise UsageError("a grid has two axes", hint="--grid cfg=2,4,7 --grid steps=8,20")
    axes = [_axis(text) for text in texts]
    if len(axes) == 2 and axes[0].name == axes[1].name:
        raise UsageError(f"both axes of the grid are {axes[0].name}", hint="name two things")
    total = len(axes[0].values) * (len(axes[1].values) if len(axes) == 2 else 1)
    if total > MAX_PICTURES:
        raise UsageError(f"the grid has {total} pictures", hint=f"{MAX_PICTURES} are the most")
    return Grid(*axes)


def _axis(text: str) -> Axis:
    name, equals, listed = text.partition("=")
    name = name.strip().lower().replace("-", "_") if not name.startswith("lora:") else name.strip()
    values = [part.strip() for part in listed.split(",") if part.strip()]
    if not equals or not values:
        raise UsageError(f"--grid wants NAME=VALUE,VALUE, not '{text}'", hint="--grid cfg=2,4,7")
    if len(set(values)) != len(values):
        raise UsageError(f"--grid {text} names a value twice")
    return Axis(name, tuple(_kind(name)(name, value) for value in values))


def _kind(name: str) -> Callable[[str, str], Any]:
    if name in _WHOLE:
        return _whole
    if name in _NUMBERS or (name.startswith("lora:") and len(name) > len("lora:")):
        return _number
    if name in _TEXTS:
        return lambda _, text: text
    near = get_close_matches(name, NAMES, n=1)
    raise UsageError(
        f"--grid cannot vary '{name}'",
        hint=(f"did you mean {near[0]}? " if near else "") + f"known: {', '.join(NAMES)}",
    )


def _whole(name: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise UsageError(f"--grid {name}={text}: not a whole number") from None


def _number(name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if value != value or abs(value) == float("inf"):
        raise UsageError(f"--grid {name}={text}: not a number")
    return value


def _with(choices: Choices, name: str, value: Any) -> Choices:
    if not name.startswith("lora:"):
        return replace(choices, **{name: value})
    wanted = name.partition(":")[2]
    others = tuple(lora for lora in choices.loras if lora.name != wanted)
    return replace(choices, loras=(*others, Lora(wanted, value)))
