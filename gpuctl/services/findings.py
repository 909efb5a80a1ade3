"""What a check found: one line for people, one object for scripts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from gpuctl.models import Json

Status = Literal["ok", "warn", "fail", "skipped"]


@dataclass(frozen=True, slots=True)
class Finding:
    """`remedy` is the command that mends it; `fixed` what was done about it already."""

    name: str
    status: Status
    found: str
    remedy: str | None = None
    fixed: str | None = None
    details: Json = field(default_factory=dict)

    def as_json(self) -> Json:
        return {
            "name": self.name,
            "status": self.status,
            "found": self.found,
            "remedy": self.remedy,
            "fixed": self.fixed,
            "details": self.details,
        }


def counted(number: int, noun: str) -> str:
    """`1 pod`, `2 pods`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def ok(name: str, found: str, **details: object) -> Finding:
    return Finding(name, "ok", found, details=details)


def warn(name: str, found: str, remedy: str | None = None, **details: object) -> Finding:
    return Finding(name, "warn", found, remedy, details=details)


def fail(name: str, found: str, remedy: str | None = None, **details: object) -> Finding:
    return Finding(name, "fail", found, remedy, details=details)


def skipped(name: str, why: str) -> Finding:
    return Finding(name, "skipped", why)
