"""A speech job from its input to one finished file and metrics, with whichever engine is right.

As a program: `python handler.py` serves RunPod's queue, `--warmup` loads the model and ends.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    # Started by its path: our packages are one folder up, and nothing of ours hides others' names.
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from tts import config as configuration
from tts import emotions, encoding, engine, publishing, takes, voices
from tts.config import Config
from tts.request import Request, parse, unknown_keys
from worker import report
from worker.fields import bad_input
from worker.report import Failure

REQUIREMENTS = "requirements.txt"
# Makes the Python that the model runs on, on a volume; see worker/bootstrap.py.
SETUP = "bootstrap.sh"


def handler(job: dict[str, Any]) -> dict[str, Any]:
    """Runs one job; the speech is an artifact, the metrics and the seed's `response` the result.

    Raises report.Failure for everything that has a remedy, and report.Cancelled.
    """
    document = job.get("input")
    settings = configuration.from_environment(os.environ, report.workspace())
    if isinstance(document, dict) and document.get("health_check"):
        return health(settings)
    request = parse(document)
    _tell_oddities(document, request, settings)
    takes.clean(settings.output_dir, settings.cleanup_days)
    synthesiser = _engine(settings)
    delivery = _delivery(request, settings)
    load_s = synthesiser.load()
    started = time.monotonic()
    speech = engine.speak(request, delivery, synthesiser, settings)
    spoken_s = time.monotonic() - started
    facts = synthesiser.facts()
    published = publishing.publish(
        speech,
        request,
        settings,
        name=request.session_id or str(job.get("id") or "speech"),
        device=str(facts.get("device")),
        is_simulated=synthesiser.name == "sim",
    )
    return {
        "engine": synthesiser.name,
        "model": synthesiser.name,
        "load_s": round(load_s, 3),
        "inference_s": round(spoken_s, 3),
        "audio_s": round(speech.duration_s, 3),
        "realtime_factor": round(spoken_s / speech.duration_s, 3),
        "model_sample_rate": speech.rate,
        "chunks": [asdict(part) for part in speech.parts],
        "lang": delivery.lang,
        "voice_sha256": delivery.voice.digest,
        **facts,
        **published,
    }


def needs_venv(given: dict[str, Any]) -> bool:  # noqa: ARG001 - the worker's signature
    """Whether the machine's Python has to be set up: not for the simulation."""
    return not _is_simulated()


def health(settings: Config) -> dict[str, Any]:
    """What a caller needs to know before it sends work; loads nothing."""
    loaded = sys.modules.get(f"tts.{'sim' if _is_simulated() else 'indextts'}_engine")
    model_is_here = (settings.checkpoints_dir / "config.yaml").is_file()
    is_ready = encoding.has_ffmpeg() and (_is_simulated() or model_is_here)
    folder = next(each for each in (settings.home, *settings.home.parents) if each.is_dir())
    answer = {
        "status": "healthy" if is_ready else "unhealthy",
        "version": settings.version,
        "simulated": _is_simulated(),
        "model_loaded": bool(loaded and loaded.is_loaded()),
        "model_present": model_is_here,
        "ffmpeg": encoding.has_ffmpeg(),
        "s3": settings.uploads,
        "voices": voices.available(settings),
        "free_bytes": shutil.disk_usage(folder).free,
    }
    return {"response": answer, "health": answer}


def unload() -> None:
    """Frees the GPU; the next job loads again."""
    if loaded := sys.modules.get("tts.indextts_engine"):
        loaded.unload()


def _is_simulated() -> bool:
    return os.environ.get("GPUCTL_ENGINE") == "sim"


def _engine(settings: Config) -> engine.Synthesiser:
    if _is_simulated():
        from tts.sim_engine import SimEngine

        report.log("engine sim: the voice is made without a model and without a GPU")
        return SimEngine()
    from tts.indextts_engine import IndexTtsEngine

    return IndexTtsEngine(settings)


def _tell_oddities(document: object, request: Request, settings: Config) -> None:
    for note in settings.notes:
        report.log(note, "warning")
    if isinstance(document, dict) and (ignored := unknown_keys(document)):
        report.log(f"not known and ignored: {', '.join(ignored)}", "warning")
    if request.enable_crossfade:
        report.log(
            "enable_crossfade: chunks do not overlap in content; a crossfade may cost sounds",
            "warning",
        )
    for name in emotions.overruled(
        has_text=request.emo_text is not None,
        has_vector=request.emo_vector is not None,
        has_audio=request.emo_audio_prompt is not None,
    ):
        report.log(f"{name} has no effect: text goes before vector, vector before audio", "warning")


def _delivery(request: Request, settings: Config) -> engine.Delivery:
    """The voices are looked for before minutes of loading, not after."""
    vector = None
    if request.emo_vector is not None:
        vector, was_scaled = emotions.tamed(request.emo_vector)
        if was_scaled:
            report.log(f"emo_vector was scaled to add up to {emotions.LIMIT:g}", "warning")
    if request.emo_text is not None and not (_is_simulated() or settings.use_qwen_emo):
        raise bad_input("emo_text needs the emotion model", "set USE_QWEN_EMO=true on the worker")
    lang = engine.language(request.text) if request.lang == "auto" else request.lang
    if not _is_simulated():
        from tts.indextts_engine import check_language

        check_language(lang, settings.version)
    emotion = None
    if request.emo_audio_prompt is not None:
        emotion = voices.prepare(request.emo_audio_prompt, "emo_audio_prompt", settings)
    return engine.Delivery(
        voice=voices.prepare(request.speaker_voice, "speaker_voice", settings),
        lang=lang,
        speed=request.speed,
        emotion_voice=emotion,
        emo_vector=vector,
        emo_alpha=request.emo_alpha,
        emo_text=request.emo_text,
    )


def main(argv: list[str]) -> int:
    """`--warmup` loads the model and ends; anything else is the SDK's, and serves its queue."""
    if "--warmup" in argv:
        return warm_up()
    from worker import serverless

    return serverless.main("serverless", ["tts", *argv])


def warm_up() -> int:
    """Loads the model, so that its files are in the volume's cache. Exit code 0 or 1."""
    workspace = Path(os.environ.get("GPUCTL_WORKSPACE") or "/workspace")
    try:
        settings = configuration.from_environment(os.environ, workspace)
        seconds = _engine(settings).load()
    except Failure as failure:
        sys.stderr.write(f"{failure.message}\n{failure.remedy}\n")
        return 1
    sys.stderr.write(f"IndexTTS {settings.version} is loaded ({seconds:.1f} s)\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
