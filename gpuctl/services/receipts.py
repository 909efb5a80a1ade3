"""What made a result: written beside it and into it, read back from either."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gpuctl import __version__
from gpuctl.errors import GpuctlError, NotFound, ValidationFailed
from gpuctl.models import Artifact, JobRecord, Json
from gpuctl.services import image_metadata

SCHEMA = "gpuctl-receipt/1"
_FLUX = "flux"
_RECORDINGS = frozenset((".ogg", ".opus", ".flac", ".mp3", ".wav", ".mp4", ".m4a"))
# Fields of a flux job's input that stand elsewhere in the receipt.
_ELSEWHERE = frozenset({"prompt", "clip_prompt", "model", "seed", "count", "loras"})


@dataclass(frozen=True, slots=True)
class Receipt:
    """Everything that made one result; None where nobody knows.

    `prompts` holds the user's own words, Claude's, and the text that each encoder was given with
    its number of tokens. `artifact` describes the file as the worker made it, before the receipt
    was put into it. `cost_usd` is the machine's rate × the seconds of the whole job. `details` is
    what the workload's own command wanted kept (a voice and its consent, …).
    """

    job: str
    workload: str
    created_at: str
    prompts: Json
    seed: int | None
    parameters: Json
    model: Json
    artifact: Json
    loras: list[Json] = field(default_factory=list)
    engine: str | None = None
    image: str | None = None
    machine: Json = field(default_factory=dict)
    timings: Json = field(default_factory=dict)
    versions: Json = field(default_factory=dict)
    cost_usd: float | None = None
    details: Json = field(default_factory=dict)
    schema: str = SCHEMA
    gpuctl: str = __version__

    def to_json(self) -> Json:
        fields = asdict(self)
        return {"schema": fields.pop("schema"), "gpuctl": fields.pop("gpuctl"), **fields}


def build(record: JobRecord, artifact: Artifact, cost_usd: float | None) -> Receipt:
    """The receipt of one result of a finished job. Takes named fields only: no key can slip in."""
    order, context, metrics = record.input, record.context, record.metrics
    machine: Json = context.get("machine") or {}
    versions: Json = {name: metrics[name] for name in ("diffusers", "torch") if name in metrics}
    return Receipt(
        job=record.id,
        workload=record.workload,
        created_at=_moment(record.finished_at or record.created_at),
        prompts=_prompts(record),
        seed=_seed(record, artifact),
        parameters=_parameters(record),
        model=_model(order.get("model") or metrics.get("model") or {}, metrics),
        loras=list(order.get("loras") or ()),
        engine=metrics.get("engine"),
        image=machine.get("image"),
        machine={
            "id": machine.get("id"),
            "provider": machine.get("provider"),
            "gpu": metrics.get("gpu") or machine.get("gpu"),
        },
        timings={**context.get("times", {}), **_seconds(metrics)},
        versions=versions,
        cost_usd=cost_usd,
        details=dict(context.get("receipt") or {}),
        artifact={
            "sha256": artifact.sha256,
            "bytes": artifact.bytes,
            "media_type": artifact.media_type,
        },
    )


def leave(file: Path, record: JobRecord, artifact: Artifact, cost_usd: float | None) -> Json:
    """Builds and writes the receipt of a result that has come home. Raises as `write` does."""
    receipt = build(record, artifact, cost_usd).to_json()
    write(file, receipt)
    return receipt


def write(file: Path, receipt: Json) -> bool:
    """Beside the file (`NAME.png.json`), then into it; False when only the first was possible.

    Raises GpuctlError when the file beside it cannot be written. The result is never harmed.
    """
    text = json.dumps(receipt, ensure_ascii=False, default=str)
    pretty = json.dumps(receipt, ensure_ascii=False, default=str, indent=2) + "\n"
    # A command line can carry lone surrogates: written as the escapes that JSON has for them.
    image_metadata.replace_atomically(sidecar(file), pretty.encode(errors="backslashreplace"))
    try:
        _embed(file, text, parameters_line(receipt))
    except GpuctlError:
        return False
    return True


def _embed(file: Path, text: str, line: str | None) -> None:
    if file.suffix.lower() in _RECORDINGS:
        from gpuctl.services import media_metadata  # noqa: PLC0415  mutagen, for sound and film

        media_metadata.embed(file, text)
    else:
        image_metadata.embed(file, text, line)


def _embedded(file: Path) -> str | None:
    if file.suffix.lower() in _RECORDINGS:
        from gpuctl.services import media_metadata  # noqa: PLC0415  mutagen, for sound and film

        return media_metadata.read(file)
    return image_metadata.read(file)


def read(path: Path) -> Json:
    """The receipt in the file, else the one beside it; `path` may be the latter itself.

    Raises NotFound when there is none, ValidationFailed when it is not one of ours.
    """
    if not path.exists():
        raise NotFound(f"there is no file {path}")
    if path.suffix == ".json":
        return _parsed(path.read_text(encoding="utf-8"), path)
    beside = sidecar(path)
    try:
        embedded = _embedded(path)
    except GpuctlError:
        if not beside.exists():
            raise
        embedded = None
    if embedded is not None:
        return _parsed(embedded, path)
    if beside.exists():
        return _parsed(beside.read_text(encoding="utf-8"), beside)
    raise NotFound(
        f"{path} carries no receipt, and there is no {beside.name} beside it",
        hint="files lose it when another program re-encodes them; gpuctl jobs list has the jobs",
    )


def job_input(receipt: Json) -> Json:
    """The input of a job that makes this one result again."""
    if receipt["workload"] != _FLUX:
        one = {"count": 1} if "count" in receipt["parameters"] else {}
        seed = {} if receipt.get("seed") is None else {"seed": receipt["seed"]}
        return {**receipt["parameters"], **seed, **one}
    prompts = receipt["prompts"]
    model = dict(receipt["model"])
    # A simulated model has no revision that a real machine could load.
    model["revision"] = model.pop("requested_revision", None)
    if receipt.get("engine") != "sim":
        model["revision"] = receipt["model"].get("revision")
    return {
        **receipt["parameters"],
        "prompt": prompts["text_encoder"],
        "clip_prompt": prompts["clip"],
        "model": model,
        "seed": receipt["seed"],
        "count": 1,
        "loras": list(receipt.get("loras") or ()),
    }


def sidecar(file: Path) -> Path:
    return file.with_name(file.name + ".json")


def parameters_line(receipt: Json) -> str | None:
    """The text that picture browsers show, worded as Automatic1111 does; None where the worker
    has written it itself."""
    if receipt["workload"] != _FLUX:
        return None
    order = receipt["parameters"]
    shown = {
        "Steps": order.get("steps"),
        "CFG scale": order.get("guidance"),
        "Seed": receipt["seed"],
        "Size": f"{order.get('width')}x{order.get('height')}",
        "Model": receipt["model"].get("repo"),
        "Version": f"gpuctl {receipt['gpuctl']}",
    }
    facts = ", ".join(f"{name}: {value}" for name, value in shown.items() if value is not None)
    return f"{receipt['prompts']['text_encoder']}\n{facts}"


def _prompts(record: JobRecord) -> Json:
    order, context, metrics = record.input, record.context, record.metrics
    return {
        "user": context.get("prompt"),
        "enhanced": context.get("enhanced"),
        "clip": order.get("clip_prompt"),
        "clip_tokens": context.get("clip_tokens"),
        "text_encoder": order.get("prompt") or order.get("text"),
        "text_encoder_tokens": metrics.get("text_tokens"),
    }


def _seed(record: JobRecord, artifact: Artifact) -> int | None:
    seed = record.input.get("seed", 0 if record.workload == _FLUX else None)
    return None if seed is None else int(seed) + _index(record, artifact)


def _parameters(record: JobRecord) -> Json:
    left_out = _ELSEWHERE if record.workload == _FLUX else frozenset()
    return {name: value for name, value in record.input.items() if name not in left_out}


def _model(row: Mapping[str, Any] | str, metrics: Json) -> Json:
    if isinstance(row, str):
        row = {"repo": row}
    return {
        **row,
        "revision": metrics.get("revision") or row.get("revision"),
        "requested_revision": row.get("revision"),
    }


def _index(record: JobRecord, artifact: Artifact) -> int:
    """Pictures of one job have rising seeds, in the order in which they were made."""
    known = [made.path for made in record.artifacts]
    return known.index(artifact.path) if artifact.path in known else 0


def _seconds(metrics: Json) -> Json:
    return {name: value for name, value in metrics.items() if name.endswith("_s")}


def _moment(timestamp: float) -> str:
    return datetime.fromtimestamp(timestamp, UTC).isoformat(timespec="seconds")


def _parsed(text: str, path: Path) -> Json:
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    schema = found.get("schema") if isinstance(found, dict) else None
    if not isinstance(found, dict) or not str(schema).startswith("gpuctl-receipt/"):
        raise ValidationFailed(f"what {path} carries is not a receipt of gpuctl")
    if schema != SCHEMA:
        raise ValidationFailed(
            f"the receipt in {path} was written by a later gpuctl ({schema})",
            hint="upgrade gpuctl to read it",
        )
    return found
