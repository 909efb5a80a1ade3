"""A job's input as a request to the WebUI, checked field by field before it is sent."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from sd import inputs
from sd.features import Features
from sd.keys import BY_API, FOREIGN, MULTIPLE, OWN, Kind
from sd.words import bad_input, nearest

Json = dict[str, Any]

# As the seed spells them, and as one would guess. The first row is the default.
APIS: dict[str, str] = {
    "txt2img": "txt2img",
    "img2img": "img2img",
    "loras": "loras",
    "options": "options",
    "setoptions": "set-options",
    "samplers": "samplers",
    "schedulers": "schedulers",
    "models": "models",
    "vaes": "vaes",
    "upscalers": "upscalers",
    "progress": "progress",
    "interrupt": "interrupt",
    "pnginfo": "png-info",
    "upscale": "upscale",
}
GENERATING = ("txt2img", "img2img")
# What A1111 takes when nothing is said; its own page says 20.
DEFAULT_STEPS = 50


@dataclass(frozen=True)
class Request:
    """One checked request. `notes` are what the operator should know about it."""

    api: str
    body: Json
    is_from_gpuctl: bool = False
    has_preview: bool = False
    notes: tuple[str, ...] = field(default=())


def api_of(document: object) -> str:
    """Which of APIS is meant: `getLoras` and `get-loras` are `loras`. Raises Failure."""
    if not isinstance(document, dict):
        raise bad_input("the input is not an object", "send a JSON object")
    asked = document.get("api")
    if asked is None:
        return "txt2img"
    folded = str(asked).lower().replace("-", "").replace("_", "").replace(" ", "")
    found = APIS.get(folded) or APIS.get(folded.removeprefix("get"))
    if not isinstance(asked, str) or found is None:
        near = nearest(str(asked), APIS.values())
        raise bad_input(
            f"there is no api {str(asked)[:60]!r}",
            (f"did you mean {near}? " if near else "") + "known: " + ", ".join(APIS.values()),
        )
    return found


def generation(api: str, document: Json, features: Features) -> Request:
    """txt2img or img2img. Raises Failure (bad_input) that names the key at fault."""
    given = {key: value for key, value in document.items() if value is not None}
    _check_own(given)
    _check_keys(api, given, features.known_keys(api))
    pictures = inputs.take(given)
    body = {key: value for key, value in given.items() if key not in OWN} | pictures
    if api == "img2img" and not body.get("init_images"):
        raise bad_input("init_images is missing", "send the picture to start from as base64")
    if "count" in given:
        body.setdefault("n_iter", given["count"])
    notes = _explicit(api, body)
    _check_size(body)
    return Request(
        api,
        body,
        is_from_gpuctl=given.get("caller") == "gpuctl",
        has_preview=bool(given.get("preview")),
        notes=tuple(notes),
    )


def upscaling(document: Json) -> Request:
    """One picture made larger. Raises Failure (bad_input)."""
    given = {key: value for key, value in document.items() if value is not None}
    _check_own(given)
    _check_keys("upscale", given, frozenset(BY_API["upscale"]))
    body = {key: value for key, value in given.items() if key not in OWN} | inputs.take(given)
    if not body.get("image"):
        raise bad_input("image is missing", "send the picture as base64")
    if body.get("resize_mode") == 1 and not {"upscaling_resize_w", "upscaling_resize_h"} <= set(
        body
    ):
        raise bad_input(
            "resize_mode 1 needs a size", "send upscaling_resize_w and upscaling_resize_h"
        )
    body.setdefault("upscaling_resize", 2)
    return Request("upscale", body, is_from_gpuctl=given.get("caller") == "gpuctl")


def picture(document: Json) -> Request:
    """The one picture that png-info reads. Raises Failure (bad_input)."""
    given = {key: value for key, value in document.items() if value is not None}
    _check_own(given)
    found = inputs.take(given)
    if "image" not in found:
        raise bad_input("image is missing", "send the picture as base64")
    return Request("png-info", found, is_from_gpuctl=given.get("caller") == "gpuctl")


def options(document: Json) -> Json:
    """What set-options is to set: everything that is not the handler's own."""
    wanted = {key: value for key, value in document.items() if key not in OWN}
    if not wanted:
        raise bad_input("no option was given", "for example CLIP_stop_at_last_layers: 2")
    return wanted


def _check_own(given: Json) -> None:
    for key, kind in OWN.items():
        if key in given:
            _check_value(key, given[key], kind)


def _check_keys(api: str, given: Json, known: frozenset[str]) -> None:
    table = BY_API[api]
    for key in sorted(set(given) - known - set(OWN)):
        meant = FOREIGN.get(key) or nearest(key, known)
        raise bad_input(
            f"{key} is not a key of {api}; the WebUI would ignore it",
            f"did you mean {meant}?" if meant in known else "leave it out",
        )
    for key, kind in table.items():
        if key in given:
            _check_value(key, given[key], kind)
    if isinstance(given.get("seed"), float):
        given["seed"] = int(given["seed"])


def _check_value(key: str, value: object, kind: Kind) -> None:
    if not kind.admits(value):
        raise bad_input(f"{key} is {repr(value)[:80]}", f"it has to be {kind.wanted}")


def _explicit(api: str, body: Json) -> list[str]:
    """Puts in what the WebUI would assume, so that the answer and the log say it."""
    notes = []
    if "steps" not in body:
        body["steps"] = DEFAULT_STEPS
        notes.append(f"steps is not given: the WebUI's API takes {DEFAULT_STEPS}; its page says 20")
    if api == "img2img" and not {"width", "height"} & set(body):
        notes.append("width and height are not given: the WebUI takes 512×512, whatever the shape")
    return notes


def _check_size(body: Json) -> None:
    for key in ("width", "height", "hr_resize_x", "hr_resize_y"):
        pixels = int(body.get(key) or 0)
        if pixels % MULTIPLE:
            # The WebUI cuts the remainder off and says nothing.
            near = max(MULTIPLE, round(pixels / MULTIPLE) * MULTIPLE)
            raise bad_input(
                f"{key} {pixels} is not a multiple of {MULTIPLE}", f"use {near}, the nearest one"
            )
    width, height = int(body.get("width") or 512), int(body.get("height") or 512)
    if width * height > inputs.MAX_PIXELS:
        raise bad_input(f"{width}×{height} is too large", "use at most 4096×4096")
