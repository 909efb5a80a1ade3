"""Results as text: pure, plain, no terminal."""

from __future__ import annotations

from collections.abc import Sequence


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Aligned columns under a head; numbers are the caller's to format."""
    if not rows:
        return ""
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (tuple(name.upper() for name in head), *rows)
    ]
    return "\n".join(lines)


def money(usd: float | None, digits: int = 4) -> str:
    return "unknown" if usd is None else f"${usd:.{digits}f}"


def seconds(value: float | None) -> str:
    if value is None:
        return "—"
    if value < 90:
        return f"{value:.1f} s"
    return f"{value / 60:.0f} min" if value < 5400 else f"{value / 3600:.1f} h"
