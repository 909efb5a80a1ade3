"""What becomes of a transcript here: its file, its receipt, its place in the history."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Protocol

from gpuctl.clients.whisper_live import Options
from gpuctl.errors import GpuctlError, UsageError
from gpuctl.models import Artifact, JobRecord, Json, Machine, Report
from gpuctl.services import destinations, image_metadata, receipts, subtitles
from gpuctl.services.destinations import Destination
from gpuctl.services.jobs import cost_usd
from gpuctl.services.transcripts import Transcript
from gpuctl.workloads import whisper


class Memory(Protocol):
    def save_job(self, job: JobRecord) -> None: ...


@dataclass(frozen=True, slots=True)
class Kept:
    """`file` None = only told, not written. `receipt` as it lies beside the file."""

    record: JobRecord
    transcript: Transcript
    file: Path | None
    receipt: Json | None


def begun(
    job_id: str,
    name: str,
    options: Options,
    format: str,
    machine: Machine | None,
    *,
    target: str,
    now: float,
) -> JobRecord:
    """The transcription as it is remembered before it begins; `name` is what is listened to."""
    asked = {key: value for key, value in asdict(options).items() if value not in (None, False)}
    return JobRecord(
        id=job_id,
        workload=whisper.NAME,
        machine_id=machine.id if machine else target,
        target=target,
        status="running",
        created_at=now,
        input={**asked, "format": format, "source": name},
        context={
            "prompt": name,
            "machine": {
                "id": machine.id if machine else None,
                "name": machine.name if machine else target,
                "provider": machine.provider if machine else None,
                "gpu": machine.gpu if machine else None,
                "image": machine.image if machine else None,
            },
        },
        price_usd_h=machine.price_usd_h if machine else None,
    )


def keep(
    record: JobRecord,
    transcript: Transcript,
    target: Path | None,
    memory: Memory,
    report: Report,
    *,
    now: float,
) -> Kept:
    """Writes the transcript to `target`, whole or not, then the receipt, then the history.

    Raises GpuctlError when the transcript itself cannot be written.
    """
    format = str(record.input["format"])
    record = replace(
        record,
        status="fetched" if transcript.is_whole else "failed",
        finished_at=now,
        metrics=_metrics(record, transcript),
        error=None if transcript.is_whole else "not all of it could be transcribed",
    )
    receipt = None
    if target is not None:
        destinations.prepare(Destination(target.parent))
        content = subtitles.written(transcript, format).encode("utf-8", "backslashreplace")
        image_metadata.replace_atomically(target, content)
        digest = hashlib.sha256(content).hexdigest()
        artifact = Artifact(str(target), len(content), digest, whisper.FORMATS[format])
        record = replace(record, artifacts=(artifact,), files=(str(target.absolute()),))
        receipt = _leave_receipt(target, record, transcript, report)
    memory.save_job(record)
    return Kept(record, transcript, target, receipt)


def failed(record: JobRecord, memory: Memory, error: BaseException, *, now: float) -> None:
    memory.save_job(replace(record, status="failed", error=str(error), finished_at=now))


def place_for(destination: Destination, stem: str, format: str, *, may_replace: bool) -> Path:
    """The file that a transcript goes to. Raises UsageError when it would replace another."""
    path = destination.path(stem, format)
    if path.exists() and not may_replace:
        raise UsageError(f"{path} exists", hint="--yes replaces it; or choose another with --out")
    return path


def _metrics(record: JobRecord, transcript: Transcript) -> Json:
    elapsed_s = transcript.elapsed_s
    return {
        "audio_s": transcript.duration_s,
        "elapsed_s": elapsed_s,
        "engine": transcript.engine,
        "model": record.input.get("model"),
        "language": transcript.language,
        "way": transcript.way,
        "reconnects": transcript.reconnects,
        "segments": len(transcript.segments),
        "lost": [span.as_json() for span in transcript.lost],
    }


def _leave_receipt(
    file: Path, record: JobRecord, transcript: Transcript, report: Report
) -> Json | None:
    told = {
        "source": record.input["source"],
        "audio_s": transcript.duration_s,
        "language": transcript.language,
        "way": transcript.way,
        "reconnects": transcript.reconnects,
        "lost": [span.as_json() for span in transcript.lost],
        "wordless": [span.as_json() for span in transcript.wordless],
    }
    record = replace(record, context={**record.context, "receipt": told})
    try:
        return receipts.leave(file, record, record.artifacts[0], cost_usd(record))
    except GpuctlError as error:
        report.warn(f"{file.name} is here, but its receipt is not: {error.message}")
        return None
