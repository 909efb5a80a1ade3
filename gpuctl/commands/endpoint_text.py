"""Endpoints, their workers and releases as text: pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gpuctl.commands.render import money, table
from gpuctl.models import Endpoint, Json
from gpuctl.services import durations
from gpuctl.services.endpoint_diagnosis import Diagnosis
from gpuctl.services.endpoint_memory import bare_name
from gpuctl.services.endpoint_orders import EndpointPlan
from gpuctl.services.targets import short_name


def workers_words(endpoint: Endpoint) -> str:
    if endpoint.workers_max == 0:
        kept = f" (was {endpoint.paused_max})" if endpoint.paused_max else ""
        return f"paused{kept}"
    return f"{endpoint.workers_min}–{endpoint.workers_max}"


def scaling_words(scaling: Json) -> str:
    if scaling.get("type") == "REQUEST_COUNT":
        return f"one for every {scaling.get('requestCount')} jobs"
    if scaling.get("type") == "QUEUE_DELAY":
        return f"one more when a job has waited for {scaling.get('queueDelay'):g} s"
    return "scaled in a way of its own"


def always_on(endpoint: Endpoint) -> str:
    """What the workers that always run cost, whether there is work or not."""
    if not endpoint.workers_min:
        return "$0.00/h while nothing waits"
    if endpoint.price_usd_h is None:
        return f"{endpoint.workers_min} workers always on, at an unknown rate"
    usd_h = endpoint.workers_min * endpoint.price_usd_h
    return f"{endpoint.workers_min} workers always on: {money(usd_h, 2)}/h until paused or deleted"


def endpoints_text(endpoints: Sequence[Endpoint]) -> str:
    rows = [
        (
            short_name(bare_name(each.name)),
            each.id,
            each.workload or "",
            workers_words(each),
            ", ".join(each.pools) or "CPU",
            f"{money(each.price_usd_h, 2)}/h",
            always_on(each),
        )
        for each in endpoints
    ]
    head = ("endpoint", "id", "workload", "workers", "pools", "a worker", "always")
    return table(head, rows) or "no endpoints yet: gpuctl endpoint create WORKLOAD"


def endpoint_text(endpoint: Endpoint) -> str:
    idle = durations.shown(endpoint.idle_timeout_s) if endpoint.idle_timeout_s else "RunPod's own"
    rows = [
        ("endpoint", f"{endpoint.name} ({endpoint.id})"),
        ("workload", endpoint.workload or "unknown"),
        ("image", endpoint.image or "unknown"),
        ("pools", ", ".join(endpoint.pools) or "CPU"),
        ("without", ", ".join(endpoint.excluded) or "—"),
        ("workers", f"{workers_words(endpoint)}, idle for {idle}"),
        ("scaling", scaling_words(endpoint.scaling)),
        ("a job", f"at most {durations.shown(endpoint.timeout_s)}"),
        ("volumes", ", ".join(endpoint.volume_ids) or "—"),
        ("a worker", f"{money(endpoint.price_usd_h, 2)}/h at the dearest card"),
        ("always", always_on(endpoint)),
    ]
    return "\n".join(f"{name:<9} {value}" for name, value in rows)


def plan_text(plan: EndpointPlan) -> str:
    order, cards = plan.order, plan.choice.cards
    most = order.workers_max * plan.choice.dearest_usd_h
    rows = [
        f"  {order.workers_min}–{order.workers_max} workers, {scaling_words(order.scaling)}",
        f"  cards: {', '.join(f'{card.name} {money(card.price_usd_h, 2)}/h' for card in cards)}",
        f"  at most {money(most, 2)}/h while all of them work",
        f"  a job may run for {durations.shown(order.timeout_s)}",
    ]
    if order.workers_min:
        usd_h = order.workers_min * plan.choice.dearest_usd_h
        rows.append(f"  always on, with work or without: up to {money(usd_h, 2)}/h")
    if not order.volume_ids:
        rows.append(
            "  no network volume: each new worker fetches its models again; keep them with --volume"
        )
    if order.secrets:
        rows.append(f"  secrets in its environment: {', '.join(sorted(order.secrets))}")
    return "\n".join(rows)


def shown_body(body: Json, plan: EndpointPlan) -> Json:
    """The exact body, with the names of its secrets."""
    return {**body, "env": {**body["env"], **dict.fromkeys(sorted(plan.order.secrets), "***")}}


def workers_text(answer: Json, diagnosis: Diagnosis) -> str:
    rows = [
        (
            str(each.get("id")),
            str(each.get("status")),
            str(each.get("gpuTypeId") or "—"),
            str(each.get("dataCenterId") or "—"),
            _age(each.get("uptimeSeconds")),
            "old version" if each.get("isStale") else "",
        )
        for each in answer.get("workers", ())
    ]
    head = ("worker", "status", "gpu", "place", "up", "")
    parts = [table(head, rows) or "no workers now"]
    if diagnosis.cause in ("crash_loop", "no_capacity", "paused"):
        parts.append(diagnosis.line())
    return "\n".join(parts)


def releases_text(answer: Json) -> str:
    rollout = answer.get("rollout") or {}
    rows = [
        (
            str(each.get("version")),
            str(each.get("createdAt", ""))[:19],
            "; ".join(_change(diff) for diff in each.get("diff") or ()) or "first",
        )
        for each in answer.get("releases", ())
    ]
    on_latest = f"{rollout.get('workersOnLatest', 0)} of {rollout.get('workersTotal', 0)}"
    return f"{table(('version', 'made', 'changed'), rows)}\n{on_latest} workers have the latest"


def health_text(answer: Json) -> str:
    jobs, workers = answer.get("jobs") or {}, answer.get("workers") or {}
    return f"jobs: {_counts(jobs)}\nworkers: {_counts(workers)}"


def _counts(found: Json) -> str:
    return ", ".join(f"{value} {name}" for name, value in found.items() if value) or "none"


def _change(diff: Json) -> str:
    """`env` may hold secrets: only that it changed."""
    field = str(diff.get("field"))
    if field == "env":
        return "env changed"
    return f"{field}: {diff.get('old')} → {diff.get('new')}"


def _age(value: Any) -> str:
    return durations.shown(float(value)) if isinstance(value, int | float) else "—"
