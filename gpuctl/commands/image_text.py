"""Images as text and as data. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from gpuctl.commands.render import seconds, table
from gpuctl.images.engines import BuildOrder, Engine
from gpuctl.images.facts import ImageFacts
from gpuctl.images.running import Command
from gpuctl.models import Json
from gpuctl.services.image_building import Pushed
from gpuctl.services.image_sources import Source

MOST_COMMAND_CHARACTERS = 70


def build_plan(source: Source, order: BuildOrder, engine: Engine, command: Command) -> Json:
    return {
        "workload": source.workload,
        "variant": source.variant,
        "reference": str(order.reference),
        "engine": engine.title,
        "simulated": engine.is_simulated,
        "command": str(command),
        "argv": list(command.argv),
        "environment": dict(command.env),
    }


def built(record: Json) -> str:
    return (
        f"built {record['reference']}{_simulated(record['simulated'])}\n"
        f"{record['image_id']} in {seconds(record['build_s'])}\n"
        f"next: gpuctl push {record['workload']} --{record['variant']}"
    )


def pushed_data(pushed: Pushed, engine: Engine) -> Json:
    return {
        "reference": str(pushed.reference),
        "digest": pushed.digest,
        "by_digest": str(pushed.reference.at(pushed.digest)),
        "push_s": round(pushed.seconds, 1),
        "simulated": engine.is_simulated,
        "facts": facts_data(pushed.facts, pushed.digest) if pushed.facts else None,
    }


def pushed(pushed: Pushed, engine: Engine) -> str:
    lines = [
        f"pushed {pushed.reference}{_simulated(engine.is_simulated)} in {seconds(pushed.seconds)}",
        pushed.digest,
    ]
    if pushed.facts:
        found = pushed.facts
        lines.append(f"{gigabytes(found.compressed_bytes)} compressed, a cold pull: {pull(found)}")
        lines += [f"looks like a secret – {each}" for each in found.suspicions]
    return "\n".join(lines)


def facts_data(found: ImageFacts, recorded: str | None) -> Json:
    quick, slow = found.pull_s
    return {
        **{name: value for name, value in asdict(found).items() if name != "layers"},
        "layers": [asdict(layer) for layer in found.layers],
        "compressed_bytes": found.compressed_bytes,
        "pull_s": {"quick": round(quick, 1), "slow": round(slow, 1)},
        "large_layers": [layer.digest for layer in found.large_layers],
        "runs_as_root": found.is_root,
        "recorded_digest": recorded,
        "is_recorded": recorded == found.digest,
    }


def facts(found: ImageFacts, recorded: str | None) -> str:
    others = [each for each in found.platforms if each != found.platform]
    rows = [
        ("image", found.reference),
        ("digest", f"{found.digest}{_record_note(found, recorded)}"),
        ("platform", found.platform + (f" (also {', '.join(others)})" if others else "")),
        ("size", f"{gigabytes(found.compressed_bytes)} compressed in {len(found.layers)} layers"),
        ("cold pull", pull(found)),
        ("CUDA", cuda(found)),
        ("ports", ", ".join(found.ports) or "none exposed"),
        ("user", found.user or "root (none is set)"),
        ("starts", " ".join((*found.entrypoint, *found.command)) or "nothing by itself"),
        ("healthcheck", "yes" if found.has_healthcheck else "none"),
        ("ssh", "there are signs of a server" if found.has_ssh else "no sign of a server"),
        ("secrets", f"{len(found.suspicions)} suspicious" if found.suspicions else "none seen"),
    ]
    lines = [f"{name:<12}{value}" for name, value in rows]
    for layer in found.large_layers:
        what = _short(layer.created_by) or layer.digest[:19]
        lines.append(f"{'above 1 GB':<12}{gigabytes(layer.bytes)}: {what}")
    return "\n".join(lines)


def listing(records: Sequence[Json]) -> str:
    rows = [
        (
            str(record["reference"]),
            str(record.get("variant") or "—"),
            str(record.get("digest") or "not pushed")[:19],
            gigabytes(record["compressed_bytes"]) if record.get("compressed_bytes") else "—",
            str(record.get("min_cuda") or "—"),
            "yes" if record.get("simulated") else "no",
        )
        for record in records
    ]
    return table(("image", "variant", "digest", "size", "CUDA", "simulated"), rows)


def gigabytes(count: int) -> str:
    """Decimal, as registries and docker count."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} B"


def pull(found: ImageFacts) -> str:
    quick, slow = found.pull_s
    if slow < 2:
        return "a second or two"
    return f"about {seconds(quick)} to {seconds(slow)}"


def cuda(found: ImageFacts) -> str:
    if found.min_cuda is None:
        return "no requirement is stated"
    return f"{found.min_cuda} or newer ({found.min_cuda_from})"


def _record_note(found: ImageFacts, recorded: str | None) -> str:
    if recorded is None:
        return ""
    return " (as pushed from here)" if recorded == found.digest else " – NOT what was pushed here"


def _simulated(is_simulated: bool) -> str:
    return " (simulated)" if is_simulated else ""


def _short(text: str) -> str:
    line = " ".join(text.split())
    is_long = len(line) > MOST_COMMAND_CHARACTERS
    return f"{line[: MOST_COMMAND_CHARACTERS - 1]}…" if is_long else line
