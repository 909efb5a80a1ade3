"""What bills, what was spent and what was ended, as text and as data: pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from gpuctl.commands.render import money, table
from gpuctl.errors import GpuctlError
from gpuctl.holdings import HOURS_A_MONTH, DataCenter, Holding, Volume
from gpuctl.models import Json
from gpuctl.services.costs import Costs, Row
from gpuctl.services.panic import Outcome
from gpuctl.services.resources import CLASSES, Inventory, Owned, Total
from gpuctl.services.targets import short_name

_TITLES = {
    "ours-running": "ours, in use or kept",
    "ours-forgotten": "ours, forgotten?",
    "not-ours": "not made by gpuctl",
}


def inventory_data(inventory: Inventory, unresolved: Sequence[str], *, ours_only: bool) -> Json:
    classes = CLASSES[:2] if ours_only else CLASSES
    shown = [each for each in inventory.owned if each.whose in classes]
    return {
        "resources": [_owned_data(each) for each in shown],
        "totals": {whose: _total_data(inventory.total(whose)) for whose in classes}
        | {"all": _total_data(inventory.total())},
        "unasked": {name: _error_data(error) for name, error in inventory.unasked.items()},
        "unresolved": list(unresolved),
        "asked": list(inventory.asked),
        "complete": not inventory.unasked and not unresolved,
    }


def inventory_text(inventory: Inventory, unresolved: Sequence[str], *, ours_only: bool) -> str:
    parts = []
    for whose in CLASSES[:2] if ours_only else CLASSES:
        shown = [each for each in inventory.owned if each.whose == whose]
        if shown:
            total = _total_text(inventory.total(whose))
            parts.append(f"{_TITLES[whose]}: {total}\n{_rows([_row(each) for each in shown])}")
    parts += [
        f"{name}: unknown, could not be asked: {error.message}"
        for name, error in inventory.unasked.items()
    ]
    parts += [f"{name}: may exist, and may bill; it is looked for again" for name in unresolved]
    return "\n\n".join([*parts, _verdict(inventory, unresolved)])


def _verdict(inventory: Inventory, unresolved: Sequence[str]) -> str:
    total = inventory.total()
    asked = ", ".join(inventory.asked)
    if inventory.unasked or unresolved:
        return f"at least {_total_text(total)}; what could not be asked may bill more"
    if not total.count:
        return f"nothing bills (asked: {asked})"
    return f"{_total_text(total)} in all (asked: {asked})"


def holdings_text(holdings: Sequence[Holding]) -> str:
    """A preview: what it is and what it costs."""
    return _rows([_cells(holding) for holding in holdings])


def _rows(rows: Sequence[Sequence[str]]) -> str:
    head = ("kind", "name", "status", "what", "place", "$/h", "$/day", "$/month", "")
    width = max(map(len, rows), default=0)
    return table(head[:width], rows)


def _row(each: Owned) -> tuple[str, ...]:
    return (*_cells(each.holding), each.reason)


def _cells(holding: Holding) -> tuple[str, ...]:
    price = holding.usd_h
    return (
        holding.kind,
        _called(holding),
        holding.status,
        holding.detail,
        holding.place or "—",
        money(price, 3),
        money(None if price is None else price * 24, 2),
        money(None if price is None else price * HOURS_A_MONTH, 2),
    )


def _called(holding: Holding) -> str:
    """What a command takes for it: the short name of a machine of ours, else name and id."""
    name = short_name(holding.name)
    if not name:
        return holding.id
    return name if name != holding.name else f"{name} ({holding.id})"


def _total_text(total: Total) -> str:
    unknown = f" and {total.unknown} of unknown price" if total.unknown else ""
    return (
        f"{money(total.usd_h, 3)}/h, {money(total.usd_day, 2)}/day, "
        f"{money(total.usd_month, 2)}/month{unknown}"
    )


def _owned_data(each: Owned) -> Json:
    return {**holding_data(each.holding), "class": each.whose, "reason": each.reason or None}


def holding_data(holding: Holding) -> Json:
    price = holding.usd_h
    return {
        **asdict(holding),
        "usd_day": None if price is None else round(price * 24, 4),
        "usd_month": None if price is None else round(price * HOURS_A_MONTH, 4),
    }


def _total_data(total: Total) -> Json:
    return {
        "count": total.count,
        "usd_h": round(total.usd_h, 6),
        "usd_day": round(total.usd_day, 4),
        "usd_month": round(total.usd_month, 4),
        "unknown_prices": total.unknown,
    }


def _error_data(error: GpuctlError) -> Json:
    return {"code": error.code, "message": error.message, "hint": error.hint}


# spending


def costs_data(costs: Costs, by: str) -> Json:
    return {
        "since": costs.window.start_text,
        "by": by,
        "rows": [_cost_data(row) for row in costs.rows],
        "billed_usd": None if costs.failed else round(costs.billed, 6),
        "estimated_usd": round(costs.estimated, 6),
        "notes": list(costs.notes),
        "unasked": {kind: _error_data(error) for kind, error in costs.failed.items()},
    }


def costs_text(costs: Costs, by: str) -> str:
    since = f"since {costs.window.began:%F %H:%M} UTC"
    if not costs.rows:
        parts = [f"nothing was spent {since}" if not costs.failed else f"no records {since}"]
    else:
        head = (by, "billed", "our estimate", "jobs alone", "made", "$ each")
        total = "billed: unknown" if costs.failed else f"{_sum(costs.billed)} billed"
        parts = [
            table(head, [_cost_row(row) for row in costs.rows]),
            f"{total}, {_sum(costs.estimated)} by our own records, {since}; bills come hours late",
        ]
    return "\n".join([*parts, *(f"- {note}" for note in costs.notes)])


def _sum(usd: float) -> str:
    return money(usd, 2 if usd >= 1 else 4)


def _cost_row(row: Row) -> tuple[str, ...]:
    each = row.usd_each
    return (
        short_name(row.name),
        "—" if row.billed is None else money(row.billed),
        "—" if row.estimated is None else money(row.estimated),
        money(row.jobs_usd),
        str(row.artifacts or "—"),
        "—" if each is None else money(each),
    )


def _cost_data(row: Row) -> Json:
    return {**asdict(row), "usd_each": row.usd_each}


# panic


def outcome_data(outcome: Outcome) -> Json:
    return {
        "ended": [
            {**holding_data(each.holding), "proof": each.proof or None,
             "error": _error_data(each.error) if each.error else None}
            for each in outcome.ended
        ],
        "storage": [holding_data(holding) for holding in outcome.storage],
        "still_billing": [each.holding.id for each in outcome.still],
    }  # fmt: skip


def outcome_text(outcome: Outcome) -> str:
    lines = [
        f"{each.holding.kind} {each.holding.name or each.holding.id}: "
        + (f"NOT PROVEN DEAD: {each.error.message}" if each.error else f"ended; {each.proof}")
        for each in outcome.ended
    ]
    return "\n".join([*lines, storage_text(outcome.storage)]).strip()


def storage_text(storage: Sequence[Holding]) -> str:
    """What stays and bills on, because work may lie on it."""
    if not storage:
        return "no storage of ours is left"
    rows = holdings_text(storage)
    return f"storage that stays, and bills on (gpuctl volumes delete ID ends it):\n{rows}"


# volumes and places


def volume_data(volume: Volume) -> Json:
    return {**asdict(volume), "usd_month": volume.usd_month}


def volumes_text(volumes: Sequence[Volume]) -> str:
    rows = [
        (
            volume.name,
            volume.id,
            f"{volume.size_gb} GB",
            volume.data_center,
            money(volume.usd_month, 2),
            ", ".join(volume.attached_to) or "—",
        )
        for volume in volumes
    ]
    head = ("name", "id", "size", "place", "$/month", "mounted by")
    return table(head, rows) or "no network volumes"


def centers_text(centers: Sequence[DataCenter]) -> str:
    rows = [
        (
            center.id,
            center.region.replace("_", " ").lower(),
            "yes" if center.has_volumes else "no",
            ", ".join(f"{name} {level.lower()}" for name, level in center.stock) or "nothing",
        )
        for center in centers
    ]
    return table(("place", "region", "volumes", "in stock"), rows) or "no place fits"
