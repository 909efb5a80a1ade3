"""What a video job may ask for, checked before anything is loaded. The names are the seed's."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from video import geometry, graphs
from video.images import Source
from worker.fields import Fields, bad_input
from worker.report import Failure

Json = dict[str, Any]

PRESETS = ("fast", "hybrid", "quality")
MAX_PROMPT_CHARACTERS = 20_000
MAX_STEPS, MAX_LORAS = 100, 4
MAX_SEED = 2**63 - 1
MAX_BASE64 = 70_000_000
MAX_SETS = 200
FPS = 16
# The override's name → ComfyUI's folder.
OVERRIDES = {
    "high_model": "diffusion_models",
    "low_model": "diffusion_models",
    "vae": "vae",
    "text_encoder": "text_encoders",
    "clip_vision": "clip_vision",
}
# Spellings of other clients, in the order in which they are looked for.
ALIASES = {
    "frames": ("length", "num_frames"),
    "image_path": ("image",),
    "end_image_path": ("end_image",),
    "vae": ("vae_model",),
    "vae_url": ("vae_model_url",),
    "text_encoder": ("text_encoder_model",),
    "text_encoder_url": ("text_encoder_model_url",),
}


@dataclass(frozen=True)
class ModelFile:
    """By name on the volume, or by the address that it is fetched from."""

    name: str | None
    url: str | None


@dataclass(frozen=True)
class LoraPair:
    """One for each expert; either side may be left out."""

    high: ModelFile
    low: ModelFile
    high_weight: float = 1.0
    low_weight: float = 1.0


@dataclass(frozen=True)
class Request:
    """A job that passed every check. None: the workflow's own, or its preset's."""

    image: Source | None
    end_image: Source | None = None
    prompt: str = ""
    negative_prompt: str | None = None
    seed: int = 0
    cfg: float | None = None
    width: int | None = None
    height: int | None = None
    frames: int | None = None
    steps: int | None = None
    context_overlap: int | None = None
    preset: str | None = None
    loras: tuple[LoraPair, ...] = ()
    overrides: Mapping[str, ModelFile] = field(default_factory=dict)
    workflow: str | Json | None = None
    map: Json | None = None
    sets: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def parse(document: object) -> Request:
    """The request in a job's `input`. Raises Failure (bad_input) naming the field at fault."""
    given = with_aliases(document)
    fields = Fields(given, "the input")
    workflow = _workflow(given.get("workflow"))
    request = Request(
        image=_source(fields, "image"),
        end_image=_source(fields, "end_image"),
        prompt=fields.optional_text("prompt", limit=MAX_PROMPT_CHARACTERS) or "",
        negative_prompt=fields.optional_text("negative_prompt", limit=MAX_PROMPT_CHARACTERS),
        seed=fields.integer("seed", 0, 0, MAX_SEED),
        cfg=_optional_number(fields, given, "cfg", 0.0, 30.0),
        steps=fields.optional_integer("steps", 1, MAX_STEPS),
        context_overlap=fields.optional_integer("context_overlap", 0, 1000),
        preset=fields.choice("preset", PRESETS, "") or None,
        loras=tuple(_pair(row) for row in fields.tables("lora_pairs", MAX_LORAS)),
        overrides=_overrides(fields),
        workflow=workflow,
        map=_object(given, "map"),
        sets=_sets(given.get("set")),
        **_geometry(fields),
    )
    if request.image is None and not isinstance(workflow, dict):
        raise bad_input(
            "there is no image", "give image_path, image_url or image_base64: a video starts there"
        )
    if request.image is None and request.end_image is not None:
        raise bad_input("there is an end image and no image", "give both")
    return request


def unknown_keys(document: Mapping[str, Any]) -> list[str]:
    """Keys that `parse` did not look at: a misspelt one should not pass unnoticed."""
    return sorted(set(with_aliases(document)) - KEYS)


def with_aliases(document: object) -> Json:
    """The input with other spellings turned into ours. Raises Failure."""
    if not isinstance(document, dict):
        raise bad_input("the input is not an object", "send a JSON object")
    given = {key: value for key, value in document.items() if value not in (None, "")}
    for name, others in ALIASES.items():
        for other in others:
            value = given.pop(other, None)
            if value is not None:
                given.setdefault(name, value)
    return given


def _source(fields: Fields, what: str) -> Source | None:
    found = Source(
        path=fields.optional_text(f"{what}_path", limit=4096),
        url=fields.optional_text(f"{what}_url", limit=4096),
        base64=fields.optional_text(f"{what}_base64", limit=MAX_BASE64),
    )
    given = [way for way in (found.path, found.url, found.base64) if way is not None]
    if len(given) > 1:
        raise bad_input(f"{what} is given in {len(given)} ways", "give one: path, url or base64")
    return found if given else None


def _geometry(fields: Fields) -> Json:
    """Sizes and frames as the model can do them, with a note for what was rounded."""
    notes: list[str] = []
    width = fields.optional_integer("width", 16, 8192)
    height = fields.optional_integer("height", 16, 8192)
    frames = fields.optional_integer("frames", 1, 10_000)
    if (width is None) != (height is None):
        raise bad_input("width and height belong together", "give both, or neither")
    if width is not None and height is not None:
        fitted = geometry.side(width), geometry.side(height)
        if fitted != (width, height):
            notes.append(f"{width}×{height} became {fitted[0]}×{fitted[1]}: multiples of 16")
        width, height = fitted
    if frames is not None and geometry.frames(frames) != frames:
        notes.append(f"{frames} frames became {geometry.frames(frames)}: the model makes 4n+1")
        frames = geometry.frames(frames)
    return {"width": width, "height": height, "frames": frames, "notes": tuple(notes)}


def _pair(row: Fields) -> LoraPair:
    pair = LoraPair(
        high=_file(row, "high"),
        low=_file(row, "low"),
        high_weight=row.number("high_weight", 1.0, -10.0, 10.0),
        low_weight=row.number("low_weight", 1.0, -10.0, 10.0),
    )
    if not any((pair.high.name, pair.high.url, pair.low.name, pair.low.url)):
        raise bad_input("a LoRA pair has neither high nor low", "name the file of each expert")
    return pair


def _file(row: Fields, name: str) -> ModelFile:
    return ModelFile(
        row.optional_text(name, limit=500), row.optional_text(f"{name}_url", limit=4096)
    )


def _overrides(fields: Fields) -> dict[str, ModelFile]:
    found = {name: _file(fields, name) for name in OVERRIDES}
    return {name: file for name, file in found.items() if file.name or file.url}


def _optional_number(
    fields: Fields, given: Json, key: str, low: float, high: float
) -> float | None:
    return fields.number(key, low, low, high) if key in given else None


def _workflow(value: object) -> str | Json | None:
    if isinstance(value, str) and value.lstrip().startswith("{"):
        try:
            value = json.loads(value)
        except ValueError as error:
            raise bad_input(f"the workflow is not JSON: {error}", graphs.API_REMEDY) from None
    if value is None or isinstance(value, str):
        return value
    return graphs.checked(value)


def _object(given: Json, key: str) -> Json | None:
    value = given.get(key)
    if value is not None and not isinstance(value, dict):
        raise bad_input(f"{key} is not an object", "send a JSON object")
    return value


def _sets(value: object) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict) or len(value) > MAX_SETS:
        raise Failure("bad_input", "set is not an object", 'send {"node.input": value, …}')
    return {str(target): found for target, found in value.items()}


KEYS = frozenset(
    [
        *(f"{what}_{way}" for what in ("image", "end_image") for way in ("path", "url", "base64")),
        *("prompt", "negative_prompt", "seed", "cfg", "width", "height", "frames", "steps"),
        *("context_overlap", "preset", "lora_pairs", "workflow", "map", "set", "client"),
        *OVERRIDES,
        *(f"{name}_url" for name in OVERRIDES),
    ]
)
