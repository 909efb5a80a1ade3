"""What setup is told, whom it asks, and what it leaves behind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from gpuctl.config import Settings
from gpuctl.models import Report, Secret
from gpuctl.services.credentials import Values
from gpuctl.services.findings import Finding
from gpuctl.services.waiting import Clock


class Questions(Protocol):
    """Whoever answers. Each method raises UsageError naming `flag` where nobody can."""

    @property
    def can_ask(self) -> bool: ...
    def text(self, question: str, *, flag: str) -> str: ...
    def secret(self, question: str, *, flag: str) -> str: ...
    def yes(self, question: str, *, flag: str) -> bool: ...
    def pick(self, question: str, choices: Sequence[str], *, flag: str) -> int: ...


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the command line says. None leaves it to the question."""

    values: Mapping[str, str] = field(default_factory=dict)
    imports: tuple[Path, ...] = ()
    skip: frozenset[str] = frozenset()
    ssh_key: Path | None = None
    register: bool | None = None
    gitignore: bool | None = None
    overwrite: bool = False
    save_unchecked: bool = False
    backup: bool = False
    only_check: bool = False
    is_dry_run: bool = False

    @property
    def changes_nothing(self) -> bool:
        return self.only_check or self.is_dry_run


@dataclass(frozen=True, slots=True)
class Place:
    """Where setup works. `sim_key` is the simulator's API key, None for the real cloud."""

    settings: Settings
    folder: Path
    home: Path
    ssh_key: Path
    api_url: str
    report: Report
    clock: Clock
    timeout_s: float = 15.0
    sim_key: Secret | None = None

    @property
    def env_path(self) -> Path:
        return self.folder / ".env"


@dataclass
class Progress:
    """Grows as setup goes: `answers` by key and `extra` by name are what will be written."""

    place: Place
    wishes: Wishes
    questions: Questions
    answers: dict[str, str] = field(default_factory=dict)
    extra: dict[str, str] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    has_changed: bool = False

    @property
    def values(self) -> Values:
        return Values(self.place.settings, self.answers)

    @property
    def may_ask(self) -> bool:
        return self.questions.can_ask and not self.wishes.changes_nothing

    def add(self, finding: Finding) -> None:
        self.findings.append(finding)

    def status_of(self, name: str) -> str:
        return next((one.status for one in self.findings if one.name == name), "skipped")


@dataclass(frozen=True, slots=True)
class Outcome:
    """`written` are the names set in `file`; `next_command` is what to type now."""

    findings: tuple[Finding, ...]
    written: tuple[str, ...]
    file: Path | None
    backup: Path | None
    next_command: str
    has_changed: bool

    @property
    def is_complete(self) -> bool:
        return all(finding.status != "fail" for finding in self.findings)
