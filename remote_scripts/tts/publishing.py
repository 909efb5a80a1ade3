"""From finished speech to its file, and to the bucket where there is one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tts import encoding
from tts.config import Config
from tts.engine import Speech
from tts.request import FORMATS, Request
from worker import report, s3
from worker.report import Failure

Json = dict[str, Any]


def publish(
    speech: Speech,
    request: Request,
    settings: Config,
    *,
    name: str,
    device: str,
    is_simulated: bool,
) -> Json:
    """Encodes, announces and uploads; `sample_rate` and the seed's answer as `response`.

    Raises Failure. When the upload fails, the file has been announced, and its chunks are kept:
    the same job again speaks nothing twice.
    """
    target = report.output_dir() / f"{name}.{request.format}"
    rate = _encode(speech, request, target, is_simulated=is_simulated)
    about: Json = {
        "duration_s": round(speech.duration_s, 3),
        "sample_rate": rate,
        "seed": request.seed,
    }
    answer = _send(target, request, settings, about)
    answer["metadata"] = _metadata(speech, request, rate, device)
    return {"sample_rate": rate, "response": answer}


def _encode(speech: Speech, request: Request, target: Path, *, is_simulated: bool) -> int:
    """Writes the whole file or none; its sample rate."""
    part = target.with_name(f"{target.name}.part")
    tags = {"comment": "SIMULATED: made without a model"} if is_simulated else {}
    report.progress("encode", 0, 1)
    try:
        with report.disk_full_named():
            report.refuse_when_simulated_full()
            rate = encoding.encode(
                speech.samples,
                speech.rate,
                part,
                request.format,
                bitrate_kbps=request.bitrate_kbps,
                tags=tags,
            )
            part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    return rate


def _send(target: Path, request: Request, settings: Config, about: Json) -> Json:
    """Announces the file, after its upload where there is a bucket; the seed's answer so far."""
    media_type, name = FORMATS[request.format], target.name
    if not settings.uploads:
        report.artifact(target, media_type, **about)
        return {"status": "completed", "filename": name}
    report.progress("upload", 0, 1)
    try:
        url = s3.upload(target, name, media_type, life_s=settings.url_life_s)
    except Failure:
        report.artifact(target, media_type, **about)
        raise
    report.artifact(target, media_type, **about, url=url, s3_key=name)
    return {"status": "completed", "url": url, "filename": name, "s3_key": name}


def _metadata(speech: Speech, request: Request, rate: int, device: str) -> Json:
    is_lossy = request.format in ("ogg", "mp3")
    return {
        "sample_rate": rate,
        "codec": encoding.CODEC_NAMES[request.format],
        "bitrate": f"{request.bitrate_kbps}k" if is_lossy else None,
        "duration": round(speech.duration_s, 2),
        "device": device,
        "model_sample_rate": speech.rate,
    }
