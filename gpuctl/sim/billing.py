"""The billing routes: what was owed in each bucket of time, per thing and in all."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from gpuctl.models import Json
from gpuctl.sim import clock
from gpuctl.sim.ledger import Ledger
from gpuctl.sim.problems import Problem

Bucket = tuple[datetime, datetime]
DEFAULT_DAYS = 30
MOST_BUCKETS = 5000

# Kind in the ledger → the path's last word, the filter, and the amounts beside totalAmount.
_KINDS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "pod": ("pods", "podId", ("gpuAmount", "cpuAmount", "diskAmount")),
    "serverless": (
        "serverless", "serverlessId", ("gpuAmount", "cpuAmount", "diskAmount", "feeAmount"),
    ),
    "volume": (
        "network-volumes", "networkVolumeId", ("standardAmount", "highPerformanceAmount"),
    ),
}  # fmt: skip
# Name in the aggregate → kind and amount; None: the simulator has no such thing.
_AGGREGATE: dict[str, tuple[str, str] | None] = {
    "podGpuAmount": ("pod", "gpuAmount"),
    "podCpuAmount": ("pod", "cpuAmount"),
    "podDiskAmount": ("pod", "diskAmount"),
    "serverlessGpuAmount": ("serverless", "gpuAmount"),
    "serverlessCpuAmount": ("serverless", "cpuAmount"),
    "serverlessDiskAmount": ("serverless", "diskAmount"),
    "serverlessFeeAmount": ("serverless", "feeAmount"),
    "storageStandardAmount": ("volume", "standardAmount"),
    "storageHighPerformanceAmount": ("volume", "highPerformanceAmount"),
    "endpointAmount": None,
    "clusterGpuAmount": None,
    "clusterDiskAmount": None,
    "clusterNetworkingAmount": None,
}


def billing_routes(ledger: Ledger, refresh: Callable[[], None]) -> list[BaseRoute]:
    """`refresh` makes the ledger look at what is billed now."""

    def route(path: str, answer: Callable[[QueryParams], Json]) -> Route:
        async def endpoint(request: Request) -> Response:
            await run_in_threadpool(refresh)
            return JSONResponse(answer(request.query_params))

        return Route(path, endpoint, methods=["GET"])

    def detail(kind: str) -> Callable[[QueryParams], Json]:
        return lambda query: detailed(ledger, kind, query)

    return [
        route("/v2/billing", lambda query: aggregated(ledger, query)),
        *(route(f"/v2/billing/{word}", detail(kind)) for kind, (word, _, _) in _KINDS.items()),
    ]


def detailed(ledger: Ledger, kind: str, query: QueryParams) -> Json:
    """One record per thing and bucket, as GET /v2/billing/pods and its like answer."""
    _, key, names = _KINDS[kind]
    asked, size = query.get(key), _size(query)
    window = buckets(query)
    records = [
        {**_range(bucket), key: thing, **_with_total(amounts, names)}
        for bucket in window
        for thing, amounts in ledger.owed(kind, *_seconds(bucket)).items()
        if asked in (None, thing)
    ]
    metadata = _metadata(window, size, records, ("totalAmount", *names))
    metadata["query"][key] = asked
    metadata[f"unique{key[0].upper()}{key[1:-2]}Count"] = len({record[key] for record in records})
    return {"records": records, "metadata": metadata}


def aggregated(ledger: Ledger, query: QueryParams) -> Json:
    window, records = buckets(query), []
    for bucket in window:
        owed = {kind: ledger.owed(kind, *_seconds(bucket)).values() for kind in _KINDS}
        amounts = {
            name: sum(each.get(source[1], 0.0) for each in owed[source[0]]) if source else 0.0
            for name, source in _AGGREGATE.items()
        }
        records.append({**_range(bucket), **_with_total(amounts, _AGGREGATE)})
    names = ("totalAmount", *_AGGREGATE)
    return {"records": records, "metadata": _metadata(window, _size(query), records, names)}


def buckets(query: QueryParams, now: datetime | None = None) -> list[Bucket]:
    """The window of the query, widened to the edges of its buckets. Raises Problem 400, 422."""
    now, size = now or clock.now(), _size(query)
    last_n = query.get("lastN")
    if last_n is not None:
        if "startTime" in query or "endTime" in query:
            raise Problem(400, "lastN and startTime/endTime exclude each other")
        if not last_n.isdecimal() or int(last_n) < 1:
            raise Problem(422, "invalid query", ["lastN: must be an integer of at least 1"])
        begin = _floor(now, size)
        for _ in range(int(last_n) - 1):
            begin = _floor(begin - timedelta(seconds=1), size)
        return _split(begin, now, size)
    begin = _moment(query, "startTime", now - timedelta(days=DEFAULT_DAYS))
    end = _moment(query, "endTime", now)
    if end <= begin:
        raise Problem(400, "endTime must be after startTime")
    return _split(_floor(begin, size), end, size)


def _split(begin: datetime, end: datetime, size: str) -> list[Bucket]:
    found: list[Bucket] = []
    while begin < end:
        following = _next(begin, size)
        found.append((begin, following))
        begin = following
        if len(found) > MOST_BUCKETS:
            raise Problem(400, "too many buckets: ask for less, or for larger ones")
    return found


def _floor(moment: datetime, size: str) -> datetime:
    moment = moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    if size == "hour":
        return moment
    moment = moment.replace(hour=0)
    if size == "week":
        return moment - timedelta(days=moment.weekday())
    if size == "month":
        return moment.replace(day=1)
    return moment.replace(month=1, day=1) if size == "year" else moment


def _next(begin: datetime, size: str) -> datetime:
    longest = {"hour": timedelta(hours=1), "day": timedelta(days=1), "week": timedelta(days=7)}
    if size in longest:
        return begin + longest[size]
    return _floor(begin + timedelta(days=32 if size == "month" else 366), size)


def _size(query: QueryParams) -> str:
    size = query.get("bucketSize", "day")
    if size not in ("hour", "day", "week", "month", "year"):
        raise Problem(422, "invalid query", ["bucketSize: hour, day, week, month or year"])
    return size


def _moment(query: QueryParams, name: str, default: datetime) -> datetime:
    try:
        return clock.parsed(query[name]) if name in query else default
    except ValueError:
        raise Problem(422, "invalid query", [f"{name}: must be RFC 3339"]) from None


def _seconds(bucket: Bucket) -> tuple[float, float]:
    return bucket[0].timestamp(), bucket[1].timestamp()


def _range(bucket: Bucket) -> Json:
    return {"startTime": clock.rfc3339(bucket[0]), "endTime": clock.rfc3339(bucket[1])}


def _with_total(amounts: dict[str, float], names: Iterable[str]) -> Json:
    shown = {name: amounts.get(name, 0.0) for name in names}
    return {"totalAmount": sum(shown.values()), **shown}


def _metadata(window: list[Bucket], size: str, records: list[Json], names: Iterable[str]) -> Any:
    asked = _range((window[0][0], window[-1][1])) | {"bucketSize": size}
    totals = {name: sum(record[name] for record in records) for name in names}
    return {"query": asked, "recordCount": len(records), "totals": totals}
