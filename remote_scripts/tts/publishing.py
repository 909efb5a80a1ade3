"""From finished speech to its file, and to the bucket where there is one."""

from __future__ import annotations

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
    file_name = f"{name}.{request.format}"
    target = report.output_dir() / file_name
    part = target.with_name(f"{file_name}.part")
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
    about: Json = {
        "duration_s": round(speech.duration_s, 3),
        "sample_rate": rate,
        "seed": request.seed,
    }
    media_type = FORMATS[request.format]
    response: Json = {"status": "completed", "filename": file_name}
    if settings.uploads:
        report.progress("upload", 0, 1)
        try:
            url = s3.upload(target, file_name, media_type, life_s=settings.url_life_s)
        except Failure:
            report.artifact(target, media_type, **about)
            raise
        about |= {"url": url, "s3_key": file_name}
        response = {"status": "completed", "url": url, "filename": file_name, "s3_key": file_name}
    report.artifact(target, media_type, **about)
    response["metadata"] = _metadata(speech, request, rate, device)
    return {"sample_rate": rate, "response": response}


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
