"""Spans of time as people write them: 90s, 20m, 2h, 1d, 1h30m."""

from __future__ import annotations

import re

from gpuctl.errors import UsageError

_UNITS_S = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)([smhd])")


def parsed(text: str, flag: str = "") -> float:
    """Seconds. Raises UsageError for anything else, for nothing, and for zero."""
    wanted = text.strip().lower().replace(" ", "")
    parts = _PART.findall(wanted)
    is_whole = "".join(number + unit for number, unit in parts) == wanted
    total_s = sum(float(number) * _UNITS_S[unit] for number, unit in parts)
    if not parts or not is_whole or total_s <= 0:
        what = f"{flag} wants" if flag else "wanted:"
        raise UsageError(f"{what} a time such as 90s, 20m, 2h or 1d, not '{text}'")
    return total_s


def shown(seconds: float) -> str:
    """Two units at most: 45s, 41m, 1h 30m, 2d 3h."""
    left = round(seconds)
    if left < 60:
        return f"{max(0, left)}s"
    minutes = left // 60
    if minutes < 60:
        return f"{minutes}m"
    if minutes < 24 * 60:
        return _joined(minutes // 60, "h", minutes % 60, "m")
    return _joined(minutes // 1440, "d", minutes % 1440 // 60, "h")


def _joined(large: int, large_unit: str, small: int, small_unit: str) -> str:
    return f"{large}{large_unit} {small}{small_unit}" if small else f"{large}{large_unit}"
