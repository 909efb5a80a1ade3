"""A job for Automatic1111: what `api` asks for, from its input to pictures, lists or options."""

from __future__ import annotations

import base64
import binascii
import time
from collections.abc import Callable
from typing import Any

from sd import answers, checks, readiness, running
from sd import request as requests
from sd.features import Features, detect
from sd.request import Request
from sd.webui import LOAD_LIMIT_S, Gone, Refused, Webui, named
from sd.words import bad_input, meant
from worker import report
from worker.report import Failure

REQUIREMENTS = "requirements.txt"
Json = dict[str, Any]


def handler(job: dict[str, Any]) -> dict[str, Any]:
    """Runs one job. The metrics are the result; `response` is A1111's own answer, for others.

    `{"caller": "gpuctl"}` gets files and `answer` instead of `response`. Raises report.Failure for
    everything that has a remedy, and report.Cancelled.
    """
    document = job.get("input")
    api = requests.api_of(document)
    assert isinstance(document, dict)
    try:
        webui, waited_s = readiness.ready()
        done = _run(api, document, webui)
    except Refused as refused:
        raise named(refused) from refused
    except Gone as gone:
        raise Failure(
            "worker_died", f"the WebUI has gone: {gone}", "submit it again: a fresh one starts"
        ) from gone
    # A WebUI that answers at once was not waited for.
    load_s = round(waited_s, 3) if waited_s >= 0.1 else 0.0
    return {"engine": _engine(), "api": api, "load_s": load_s, **done}


def needs_venv(given: dict[str, Any]) -> bool:  # noqa: ARG001 - the worker's signature
    """Never: the WebUI brings its own Python, and this handler uses the standard library."""
    return False


def unload() -> None:
    """Ends the stand-in; a real WebUI belongs to the container."""
    readiness.stop()


def _engine() -> str:
    return "sim" if readiness.is_simulated() else "a1111"


def _run(api: str, document: Json, webui: Webui) -> Json:
    if api in requests.GENERATING:
        return _generate(api, document, webui)
    if api == "upscale":
        return _upscale(document, webui)
    if api == "png-info":
        request = requests.picture(document)
        return _told(webui.post("/png-info", request.body), document)
    if api == "set-options":
        return _told(_set_options(document, webui), document)
    if api == "interrupt":
        webui.post("/interrupt", {})
        return _told({"interrupted": True}, document)
    return _told(_LISTS[api](webui), document)


def _told(answer: Json, document: Json) -> Json:
    """gpuctl reads `answer`; others get the same at the top of the result."""
    return {"answer" if document.get("caller") == "gpuctl" else "response": answer}


def _generate(api: str, document: Json, webui: Webui) -> Json:
    features = detect(webui)
    request = requests.generation(api, document, features)
    notes = [*request.notes, *checks.check(webui, features, request.body)]
    for note in notes:
        report.log(note, "warning")
    wanted = (request.body.get("override_settings") or {}).get("sd_model_checkpoint")
    model = str(checks.checkpoint(webui, wanted).get("model_name")) if wanted else None
    started = time.monotonic()
    answer, interrupted = running.run(webui, api, request.body, has_preview=request.has_preview)
    inference_s = time.monotonic() - started
    made = answers.read(answer)
    report.progress("save", 0, 1)
    response = _kept(request, made)
    answers.verify(request, made, model, interrupted=interrupted)
    found: Json = {
        "inference_s": round(inference_s, 3),
        "flavour": features.flavour,
        "notes": notes,
        **answers.facts(made, request),
    }
    return found | ({"response": response} if response else {})


def _kept(request: Request, made: answers.Made) -> Json | None:
    if request.is_from_gpuctl:
        answers.keep(made)
        return None
    response, as_files = answers.for_outsiders(made)
    if as_files:
        answers.keep(made)
    return response


def _upscale(document: Json, webui: Webui) -> Json:
    request = requests.upscaling(document)
    features = detect(webui)
    wanted = request.body.setdefault("upscaler_1", "R-ESRGAN 4x+")
    checks.check_upscaler(webui, features, str(wanted))
    report.progress("upscale", 0, 1)
    started = time.monotonic()
    answer = webui.post("/extra-single-image", request.body, limit_s=LOAD_LIMIT_S)
    try:
        data = base64.b64decode(str((answer or {}).get("image") or ""), validate=True)
    except binascii.Error as error:
        raise Failure("failed", f"the WebUI's answer is damaged: {error}", "see its log") from error
    facts = answers.keep_one(data, "upscaled")
    spent = {"inference_s": round(time.monotonic() - started, 3), "upscaler": wanted, **facts}
    return spent | ({} if request.is_from_gpuctl else {"response": answer})


def _set_options(document: Json, webui: Webui) -> Json:
    """Sets, reads back, and names what was not taken. Raises Failure."""
    wanted = requests.options(document)
    present = webui.get("/options")
    for key in wanted:
        if key not in present:
            raise bad_input(f"{key} is not an option of this WebUI", meant(key, present))
    model = None
    if (name := wanted.get("sd_model_checkpoint")) is not None:
        model = checks.checkpoint(webui, name)
        report.loading("model", f"loading {name}")
    webui.post("/options", wanted, limit_s=LOAD_LIMIT_S)
    now = webui.get("/options")
    dropped = [key for key, value in wanted.items() if not _is_taken(now.get(key), value, model)]
    if dropped:
        raise bad_input(
            f"the WebUI did not take {', '.join(dropped)}",
            "its API may not change that option: set it in the WebUI's config.json",
        )
    return {"set": {key: now.get(key) for key in wanted}}


def _is_taken(now: object, wanted: object, model: Json | None) -> bool:
    if now == wanted:
        return True
    # A checkpoint is asked for by any alias and shown by its title.
    shown = str(now).partition(" [")[0]
    names = () if model is None else (model.get("title"), model.get("model_name"))
    return any(shown == str(name).partition(" [")[0] for name in names) or now == (model or {}).get(
        "title"
    )


def _optional(webui: Webui, features: Features, path: str, what: str) -> Any:
    if not features.has(path):
        raise Failure("unsupported", f"this WebUI has no list of {what}", "ask for another list")
    return webui.get(path)


def _list(path: str, name: str) -> Callable[[Webui], Json]:
    def read(webui: Webui) -> Json:
        return {name: _optional(webui, detect(webui), path, name)}

    return read


def _models(webui: Webui) -> Json:
    current = webui.get("/options").get("sd_model_checkpoint")
    return {"models": webui.get("/sd-models"), "current": current}


def _vaes(webui: Webui) -> Json:
    features = detect(webui)
    return {"vaes": _optional(webui, features, features.vae_route, "VAEs")}


_LISTS: dict[str, Callable[[Webui], Json]] = {
    "loras": _list("/loras", "loras"),
    "samplers": _list("/samplers", "samplers"),
    "schedulers": _list("/schedulers", "schedulers"),
    "upscalers": _list("/upscalers", "upscalers"),
    "models": _models,
    "vaes": _vaes,
    "options": lambda webui: {"options": webui.get("/options")},
    "progress": lambda webui: webui.get("/progress?skip_current_image=true"),
}
