"""Findings as aligned lines: what is, and under it what to type."""

from __future__ import annotations

from collections.abc import Sequence

from gpuctl.console import Console
from gpuctl.services.findings import Finding

_SIGNS = {
    "ok": ("✓", "green"),
    "warn": ("!", "yellow"),
    "fail": ("✗", "red"),
    "skipped": ("·", "dim"),
}


def findings_text(console: Console, findings: Sequence[Finding]) -> str:
    """One line for each, with its remedy and what was mended below it."""
    width = max((len(finding.name) for finding in findings), default=0)
    lines = []
    for finding in findings:
        sign, style = _SIGNS[finding.status]
        mark = console.style_result(sign, style)
        lines.append(f"{mark} {finding.name:<{width}}  {finding.found}")
        indent = " " * (width + 4)
        if finding.fixed:
            lines.append(f"{indent}{console.style_result('fixed:', 'green')} {finding.fixed}")
        elif finding.remedy and finding.status in ("warn", "fail"):
            lines.append(f"{indent}{console.style_result('next:', 'cyan')} {finding.remedy}")
    return "\n".join(lines)


def summary(findings: Sequence[Finding]) -> str:
    """`12 ok, 1 warning, 2 failed, 3 skipped`."""
    counts = {status: sum(one.status == status for one in findings) for status in _SIGNS}
    words = {"ok": "ok", "fail": "failed", "skipped": "skipped"}
    words["warn"] = "warning" if counts["warn"] == 1 else "warnings"
    return ", ".join(f"{counts[status]} {words[status]}" for status in _SIGNS if counts[status])
