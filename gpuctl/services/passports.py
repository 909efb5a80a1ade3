"""Proofs that an image passed its rehearsal, by digest; any later change of one is noticed."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from gpuctl import __version__
from gpuctl.errors import ConfigError, NotFound, UsageError, ValidationFailed
from gpuctl.models import Json
from gpuctl.services import durations
from gpuctl.services.ec2_timer import rfc3339

if TYPE_CHECKING:
    from gpuctl.services.validation import Result
    from gpuctl.services.validation_orders import Order
    from gpuctl.state import State

SCHEMA = "gpuctl-passport/1"
KIND = "passport"
FOLDER = "passports"
# What older cards cannot show, by compute capability (peers.md §C5).
_UNPROVED = {
    "Tesla T4": "it has no bf16 and no FlashAttention-2 (compute capability 7.5): the code paths "
    "of newer cards are unproved",
}


@dataclass(frozen=True, slots=True)
class Shelf:
    """Where passports are kept: files in `folder`, and their hashes in the state file, so that a
    file that was changed together with its own hash is noticed too."""

    folder: Path
    state: State

    def path(self, digest: str) -> Path:
        return self.folder / f"{digest.removeprefix('sha256:')}.json"


def shelf(state_folder: Path, state: State) -> Shelf:
    return Shelf(state_folder / FOLDER, state)


def write(shelf: Shelf, order: Order, result: Result, *, now: float, is_simulated: bool) -> Json:
    """Replaces what was known of this digest: a failure takes an older proof back.

    Raises ConfigError when it cannot be written.
    """
    document = signed(_document(order, result, now=now, is_simulated=is_simulated))
    path = shelf.path(result.digest)
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        part = path.with_name(f"{path.name}.{os.getpid()}.part")
        part.write_text(json.dumps(document, indent=1, ensure_ascii=False), encoding="utf-8")
        part.replace(path)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from error
    shelf.state.keep(KIND, result.digest, {"hash": document["hash"]})
    return document


def _document(order: Order, result: Result, *, now: float, is_simulated: bool) -> Json:
    machine = result.machine
    assert machine is not None
    heard = next((e.body for e in result.evidence if e.name == "transcription"), None)
    return {
        "schema": SCHEMA,
        "gpuctl": __version__,
        "created_at": rfc3339(now),
        "workload": order.workload,
        "variant": order.variant,
        "reference": order.request.need.image,
        "digest": result.digest,
        "passed": result.is_passed,
        "simulated": is_simulated,
        "checks": [one.as_json() for one in result.evidence],
        "transcript": heard,
        "phases": [phase.as_json() for phase in result.phases.done],
        "machine": {
            "provider": machine.provider,
            "id": machine.id,
            "name": machine.name,
            "gpu": result.gpu,
            "type": result.kind,
            "driver": result.driver,
            "zone": machine.data_center,
            "host_key": result.host_key,
        },
        "usd": result.usd,
        "not_covered": not_covered(result.gpu),
    }


def not_covered(gpu: str) -> list[str]:
    """What a rehearsal on this card cannot prove."""
    known = [f"{gpu}: {_UNPROVED[gpu]}"] if gpu in _UNPROVED else []
    return [*known, f"any other GPU than {gpu}: a canary on the target is required (deploy.canary)"]


def signed(document: Json) -> Json:
    return {**document, "hash": digest_of(document)}


def digest_of(document: Mapping[str, object]) -> str:
    """Over everything but the hash itself, however the file is laid out."""
    plain = {key: value for key, value in document.items() if key != "hash"}
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def read(shelf: Shelf, digest: str) -> Json | None:
    """As it lies there, true or not. Raises ConfigError when it cannot be read."""
    path = shelf.path(digest)
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error
    return found if isinstance(found, dict) else {}


def all_of(shelf: Shelf) -> list[Json]:
    """Every passport, newest first. One that cannot be read stands there without a date."""
    files = sorted(shelf.folder.glob("*.json")) if shelf.folder.is_dir() else []
    found = []
    for file in files:
        try:
            found.append(read(shelf, f"sha256:{file.stem}") or {})
        except ConfigError:
            found.append({"digest": f"sha256:{file.stem}"})
    return sorted(found, key=lambda each: str(each.get("created_at", "")), reverse=True)


def find(shelf: Shelf, text: str) -> Json:
    """By digest, the beginning of one, a reference or a workload (its newest).

    Raises NotFound, UsageError when a beginning fits several.
    """
    kept = all_of(shelf)
    short = text.removeprefix("sha256:")
    fits = [p for p in kept if str(p.get("digest", "")).removeprefix("sha256:").startswith(short)]
    if len(fits) > 1 and len(short) < 64:
        raise UsageError(f"several digests begin with {text}", hint="give more of it")
    by_name = [p for p in kept if text in (p.get("reference"), p.get("workload"))]
    if not fits and not by_name:
        raise NotFound(f"there is no passport for {text}", hint="gpuctl passport list")
    return (fits or by_name)[0]


def fault(shelf: Shelf, document: Json) -> str | None:
    """Why it is no proof; None when it is intact. Says nothing of its age or of what it proves."""
    if document.get("schema") != SCHEMA:
        return "it is not a passport that this version knows"
    if document.get("hash") != digest_of(document):
        return "it was changed after it was made: its hash does not fit"
    kept = shelf.state.kept(KIND, str(document.get("digest")))
    if kept is not None and kept.get("hash") != document["hash"]:
        return "it is not the one that was made here: another hash is recorded"
    return None


def is_from_here(shelf: Shelf, document: Json) -> bool:
    return shelf.state.kept(KIND, str(document.get("digest"))) is not None


def age_s(document: Json, now: float) -> float:
    return now - datetime.fromisoformat(str(document["created_at"])).timestamp()


def required(shelf: Shelf, workload: str, digest: str, *, now: float, max_age_s: float) -> Json:
    """The proof that this image may be deployed. Raises ValidationFailed with the next step."""
    document = read(shelf, digest)
    hint = f"gpuctl ec2 validate {workload}; or, on the record: --no-gate --reason '…'"
    if document is None:
        raise ValidationFailed(f"there is no passport for {workload} {digest[:19]}", hint=hint)
    why = fault(shelf, document) or _unfit(document, workload, digest, now, max_age_s)
    if why:
        raise ValidationFailed(f"the passport of {workload} {digest[:19]}: {why}", hint=hint)
    return document


def _unfit(document: Json, workload: str, digest: str, now: float, max_age_s: float) -> str | None:
    if document.get("digest") != digest or document.get("workload") != workload:
        return f"it is for {document.get('workload')} {str(document.get('digest'))[:19]}"
    if not document.get("passed"):
        return "its last rehearsal failed"
    old_s = age_s(document, now)
    if old_s > max_age_s:
        limit = durations.shown(max_age_s)
        return f"it is {durations.shown(old_s)} old, and counts for {limit}"
    return None
