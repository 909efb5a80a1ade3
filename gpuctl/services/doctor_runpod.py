"""Checks of RunPod: the key, the clock, the description, money, stock, and what stands open."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from email.utils import parsedate_to_datetime

from gpuctl.clients import accounts
from gpuctl.clients.fetching import Reply, fetch
from gpuctl.errors import ApiError, CredentialsError, GpuctlError, NoCapacity, NotFound
from gpuctl.models import Json, Secret
from gpuctl.services import contract, offers, orders
from gpuctl.services.doctor import Bench, Check, Look, side_by_side
from gpuctl.services.findings import Finding, counted, fail, ok, skipped, warn

MOST_SKEW_S = 60.0
LOW_SHARE = 0.1
PARALLEL = 8
LOW_BALANCE_HOURS = 2.0
# What gpuctl reads besides the pods; a key may be scoped to less (runpod.md §1).
SCOPES = {
    "/catalog/gpus?include=AVAILABILITY&product=POD": "prices and stock",
    "/network-volumes": "network volumes",
    "/account/ssh-keys": "the account's SSH keys",
}
_WINDOW = re.compile(r'"(\w+)"((?:;\w+=\d+)*)')
NO_KEY = "needs the RunPod key"
KEY_REMEDY = "gpuctl setup   # or: gpuctl config set runpod.api_key"


def account(bench: Bench) -> Sequence[Finding]:
    """One call tells four things: reachable, accepted, the time there, what the limits leave."""
    if bench.api_key is None and bench.config_error is not None:
        return [skipped("runpod-key", "the configuration does not load")]
    if bench.api_key is None:
        return [fail("runpod-key", "not set", KEY_REMEDY)]
    try:
        reply = accounts.runpod(bench.api_url, bench.api_key, bench.timeout_s)
    except CredentialsError as error:
        reachable = ok("runpod-api", f"{bench.api_url} answers")
        origin = bench.settings.value("runpod.api_key").origin
        said = error.message if bench.is_sim else f"{error.message} (the key of {origin})"
        return [reachable, fail("runpod-key", said, KEY_REMEDY)]
    except ApiError as error:
        return [fail("runpod-api", error.message, _remedy(error))]
    return [
        ok("runpod-api", f"{bench.api_url} answers"),
        _key(reply),
        _clock(bench, reply.headers),
        _limits(reply.headers),
    ]


def scope(bench: Bench) -> Sequence[Finding]:
    refused = [what for path, what in SCOPES.items() if not _may_read(bench, path)]
    if refused:
        return [
            warn(
                "runpod-scope",
                f"the key may not read {', '.join(refused)}",
                "make a key with all permissions: console → Settings → API keys",
            )
        ]
    return [ok("runpod-scope", f"may read pods, {', '.join(SCOPES.values())}")]


def description(bench: Bench) -> Sequence[Finding]:
    """The description is served without a key (runpod.md §0)."""
    try:
        reply = fetch("GET", f"{bench.api_url}/openapi.json", timeout_s=bench.timeout_s)
    except ApiError as error:
        return [warn("runpod-contract", f"could not be asked: {error.message}", _remedy(error))]
    live = reply.document()
    if not reply.is_success or not live.get("paths"):
        return [warn("runpod-contract", f"no description of the API (answer {reply.status})")]
    drift = contract.compare(live)
    details = drift.as_json()
    if drift.broken:
        said = f"the API changed under gpuctl: {'; '.join(drift.broken)}"
        return [Finding("runpod-contract", "fail", said, "upgrade gpuctl", details=details)]
    if drift.gone:
        said = f"the API tells less than before: {'; '.join(drift.gone)}"
        return [Finding("runpod-contract", "warn", said, "upgrade gpuctl", details=details)]
    said = f"{len(contract.built_on())} operations are as gpuctl knows them"
    if drift.undescribed:
        said += ", as far as they are described"
    if drift.added:
        said += f"; new: {', '.join(drift.added[:4])}"
    return [Finding("runpod-contract", "ok", said, details=details)]


def balance(bench: Bench) -> Sequence[Finding]:
    """GraphQL alone knows it, and may be gone: unknown is not a failure."""
    url, key = bench.settings.text_or_none("runpod.graphql_url"), bench.api_key
    if bench.is_sim or key is None or not url:
        return [skipped("balance", "the simulator has none" if bench.is_sim else NO_KEY)]
    try:
        told = accounts.runpod_balance(url, key, bench.timeout_s)
    except GpuctlError as error:
        return [skipped("balance", f"unknown: {error.message}")]
    left, rate = float(told.get("clientBalance") or 0), float(told.get("currentSpendPerHr") or 0)
    said = f"${left:.2f}" + (f", spending ${rate:.2f}/h" if rate else "")
    wanted = bench.settings.number("runpod.max_price_usd_h")
    if left <= 0:
        return [fail("balance", said, "add credit: console → Billing")]
    if left < LOW_BALANCE_HOURS * max(rate, wanted):
        return [warn("balance", f"{said}: under {LOW_BALANCE_HOURS:g} h", "add credit")]
    return [ok("balance", said)]


def stock(bench: Bench) -> Sequence[Finding]:
    """Whether `gpuctl deploy` would find anything to rent now, and at what price."""
    settings = bench.settings
    limit = settings.number("runpod.max_price_usd_h")
    centers, volume = _centers(bench)
    if volume is not None and volume.status == "fail":
        return [volume]
    try:
        found = offers.candidates(
            bench.provider.offers(bench.need, cloud=orders.cloud(settings, None), gpu_count=1),
            gpus=settings.strings("runpod.gpu"),
            min_vram_gb=bench.need.vram_gb,
            max_price_usd_h=limit,
            data_centers=centers,
        )
    except NoCapacity as error:
        finding = warn("offers", error.message, error.hint)
    else:
        best = min(found, key=lambda offer: offer.price_usd_h)
        finding = ok(
            "offers",
            f"{len(found)} GPU types fit; the cheapest: {best.gpu_name} at "
            f"${best.price_usd_h:.2f}/h (limit ${limit:.2f}/h)",
        )
    return [finding] if volume is None else [volume, finding]


def open_ports(bench: Bench) -> Sequence[Finding]:
    """HTTP ports of pods are public; whether they ask for a password is up to what runs there."""
    ports = [
        (pod, str(port).partition("/")[0])
        for pod in bench.api.list_pods()
        if pod.get("status") == "RUNNING"
        for port in pod.get("ports") or ()
        if str(port).endswith("/http")
    ]
    if not ports:
        return [ok("open-ports", "no running pod shows an HTTP port")]
    if bench.is_sim:
        listed = ", ".join(f"{pod.get('name')}:{port}" for pod, port in ports)
        return [ok("open-ports", f"{listed} (the simulator has no public proxy)")]
    return side_by_side(lambda one: [_port(bench, *one)], ports, PARALLEL)


def with_key(name: str, look: Look) -> Look:
    """`look` where there is a key. That the key is refused is told once, by `account`; what could
    not be asked is a warning, for nobody knows."""

    def looking(bench: Bench) -> Sequence[Finding]:
        if bench.api_key is None:
            return [skipped(name, NO_KEY)]
        try:
            return look(bench)
        except CredentialsError as error:
            if error.details.get("status") == 401:
                return [skipped(name, "the RunPod key is refused")]
            raise
        except ApiError as error:
            return [warn(name, f"could not be asked: {error.message}", _remedy(error))]

    return looking


CHECKS = (
    Check("runpod-api", account),
    Check("runpod-scope", with_key("runpod-scope", scope), 20.0),
    Check("runpod-contract", description),
    Check("balance", balance),
    Check("offers", with_key("offers", stock), 20.0),
    Check("open-ports", with_key("open-ports", open_ports), 20.0),
)


def _remedy(error: ApiError) -> str:
    if error.status is None:
        return "check the network; gpuctl --sim works without one"
    if error.status == 429 or error.status >= 500:
        return "wait a minute, then: gpuctl doctor"
    return "is the address right? gpuctl config get runpod.api_url"


def _key(reply: Reply) -> Finding:
    pods = reply.document().get("pods")
    if not isinstance(pods, list):
        said = "the API answers something else than a list of pods"
        return fail("runpod-key", said, "is runpod.api_url right? gpuctl config get runpod.api_url")
    return ok("runpod-key", f"accepted; {counted(len(pods), 'pod')} in the account")


def _clock(bench: Bench, headers: Mapping[str, str]) -> Finding:
    try:
        there = parsedate_to_datetime(headers.get("date", "")).timestamp()
    except (ValueError, TypeError):
        return skipped("clock", "the API does not tell the time")
    skew_s = bench.clock.now() - there
    if abs(skew_s) > MOST_SKEW_S:
        way = "ahead" if skew_s > 0 else "behind"
        return warn(
            "clock",
            f"this computer is {abs(skew_s):.0f} s {way}: leases and signatures go wrong",
            "sudo timedatectl set-ntp true",
            skew_s=round(skew_s),
        )
    return ok("clock", f"within {MOST_SKEW_S:g} s of the API's")


def _limits(headers: Mapping[str, str]) -> Finding:
    left = _windows(headers.get("ratelimit", ""), "r")
    quota = _windows(headers.get("ratelimit-policy", ""), "q")
    if not left:
        return ok("rate-limit", "none is told")
    told = ", ".join(
        f"{count}/{quota[name]} this {name}" if name in quota else f"{count} this {name}"
        for name, count in left.items()
    )
    is_low = any(name in quota and left[name] < LOW_SHARE * quota[name] for name in left)
    if is_low:
        return warn("rate-limit", f"nearly used up: {told} left", "wait, or stop what polls")
    return ok("rate-limit", f"{told} left")


def _windows(header: str, letter: str) -> dict[str, int]:
    """`"minute";r=57;t=12, "hour";…` → what `letter` says of each window (runpod.md §1)."""
    found = {}
    for match in _WINDOW.finditer(header):
        values = dict(re.findall(r";(\w+)=(\d+)", match[2]))
        if letter in values:
            found[match[1]] = int(values[letter])
    return found


def _may_read(bench: Bench, path: str) -> bool:
    try:
        accounts.runpod(bench.api_url, bench.api_key or Secret(""), bench.timeout_s, path)
    except CredentialsError as error:
        if error.details.get("status") == 403:
            return False
        raise
    return True


def _centers(bench: Bench) -> tuple[tuple[str, ...], Finding | None]:
    """Where a machine may stand: a network volume can be mounted in its own data centre alone."""
    volume_id = bench.settings.text_or_none("runpod.volume_id")
    if volume_id is None:
        return bench.settings.strings("runpod.data_centers"), None
    try:
        volume = bench.api.network_volume(volume_id)
    except NotFound:
        said = f"there is no network volume {volume_id}"
        return (), fail("volume", said, "gpuctl config get runpod.volume_id   # correct it")
    center, size = str(volume.get("dataCenter", "")), int(volume.get("size") or 0)
    said = f"{volume_id}: {size} GB in {center}"
    if size < bench.need.volume_gb:
        short = f"{said}; flux wants {bench.need.volume_gb} GB"
        return (center,), warn("volume", short, "grow it in the console, or set flux.volume_gb")
    return (center,), ok("volume", said)


def _port(bench: Bench, pod: Json, port: str) -> Finding:
    url = bench.proxy_url.format(pod=pod.get("id"), port=port)
    name = f"port {port} of {pod.get('name')}"
    try:
        status = fetch("GET", url, timeout_s=min(5.0, bench.timeout_s)).status
    except GpuctlError as error:
        return skipped(name, f"cannot be asked: {error.message}")
    if status in (401, 403):
        return ok(name, f"asks who you are ({status})")
    if status >= 500 or status == 404:
        return ok(name, f"nothing answers there ({status})")
    return warn(
        name,
        f"answers anyone: {url} ({status})",
        f"give it a password, or take {port}/http out and use: gpuctl tunnel {port}",
    )
