"""What was found on the way to a machine, as text and as data; times as one types them: pure."""

from __future__ import annotations

import re
from dataclasses import asdict

from gpuctl.commands.machine_text import machine_data
from gpuctl.errors import UsageError
from gpuctl.models import Json
from gpuctl.services.access import Examined

_UNITS_S = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


def duration_s(text: str) -> float:
    """Seconds of 90, 90s, 10m, 1.5h, 2d. Raises UsageError."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd]?)", text.strip())
    if match is None:
        raise UsageError(f"'{text}' is not a time", hint="90, 90s, 10m, 1.5h or 2d")
    return float(match[1]) * _UNITS_S[match[2]]


def examined_text(found: Examined, ssh_line: str | None) -> str:
    lines = [f"{found.machine.name} ({found.machine.id})"]
    for check in found.checks:
        mark = "ok" if check.is_ok else "FAILED"
        lines.append(
            f"  {check.name:<8} {mark:<7} {check.detail}   {check.elapsed_s * 1000:.0f} ms"
        )
    return "\n".join([*lines, *([ssh_line] if ssh_line else [])])


def examined_data(found: Examined, ssh_line: str | None) -> Json:
    error = found.error
    return {
        "machine": machine_data(found.machine),
        "checks": [asdict(check) for check in found.checks],
        "usable": error is None,
        "error": {"code": error.code, "message": error.message} if error else None,
        "ssh": ssh_line,
    }
