"""Copies, plans and disks as text and as data: pure."""

from __future__ import annotations

from dataclasses import asdict

from gpuctl.commands.render import table
from gpuctl.models import Json
from gpuctl.services.copying import Copied
from gpuctl.services.disk_use import WARN_PERCENT, Space, Use
from gpuctl.services.local_trees import shown
from gpuctl.services.syncing import Plan

_MOST_LINES = 40


def size(count: int) -> str:
    """Bytes in units of 1024, as du -h has them."""
    value, unit = float(count), "B"
    for unit in ("B", "KiB", "MiB", "GiB", "TiB", "PiB"):
        if value < 1024 or unit == "PiB":
            break
        value /= 1024
    return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"


def copied_text(copied: Copied, where: str) -> str:
    files = "1 file" if copied.files == 1 else f"{copied.files} files"
    skipped = f"; {len(copied.skipped)} skipped" if copied.skipped else ""
    return f"{files}, {size(copied.bytes)}, to {where}{skipped}"


def plan_text(plan: Plan, verb: str) -> str:
    lines = [f"{verb} {shown(one.path)}{'/' if one.kind == 'dir' else ''}" for one in plan.send]
    lines += [f"delete {shown(path)}" for path in plan.doomed]
    if not lines:
        return "both sides are alike"
    more = len(lines) - _MOST_LINES
    listed = lines[:_MOST_LINES] + ([f"… and {more} more"] if more > 0 else [])
    return "\n".join([*listed, f"{size(plan.bytes)} in all"])


def plan_data(plan: Plan) -> Json:
    return {
        "here": str(plan.wish.here),
        "there": plan.root,
        "direction": "down" if plan.wish.down else "up",
        "send": [shown(one.path) for one in plan.send],
        "delete": list(map(shown, plan.doomed)),
        "skipped": list(plan.skipped),
        "bytes": plan.bytes,
    }


def disk_text(use: Use) -> str:
    head = ("", "path", "used", "free", "total", "use")
    lines = [table(head, [_disk_row(space) for space in use.spaces])]
    if any(space.is_shared for space in use.spaces):
        whole = "unknown" if use.workspace_bytes is None else size(use.workspace_bytes)
        lines.append(
            f"the workspace is on shared storage: these are the cluster's sizes, and the volume's "
            f"own limit cannot be seen from inside; in the workspace: {whole}"
        )
    if use.folders:
        rows = [(size(folder.bytes), folder.path) for folder in use.folders]
        lines.append("\n" + table(("size", "folder"), rows))
    return "\n".join(lines)


def disk_data(use: Use) -> Json:
    spaces = [
        {**asdict(space), "used_bytes": space.used_bytes, "percent": space.percent}
        for space in use.spaces
    ]
    folders = None if use.folders is None else [asdict(folder) for folder in use.folders]
    return {
        "workspace": use.workspace,
        "workspace_bytes": use.workspace_bytes,
        "disks": spaces,
        "folders": folders,
    }


def full_warnings(use: Use) -> list[str]:
    return [
        f"{space.path} is {space.percent} % full: {size(space.free_bytes)} left"
        for space in use.spaces
        if space.percent > WARN_PERCENT
    ]


def _disk_row(space: Space) -> tuple[str, ...]:
    return (
        space.name,
        space.path,
        size(space.used_bytes),
        size(space.free_bytes),
        size(space.total_bytes),
        f"{space.percent} %",
    )
