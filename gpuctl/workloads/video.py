"""Video: a still (and perhaps a last picture) in, a film out. Pure: no files, no network."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from gpuctl.errors import UsageError
from gpuctl.models import Json, Need
from gpuctl.workloads import base

NAME = "video"
TITLE = "image to video"
COMMAND = "video"
EXAMPLE = 'video still.png --prompt "the tide comes in"'
PLACE: base.Place = "service"
FORMATS = {
    "mp4": "video/mp4",
    "webm": "video/webm",
    "mkv": "video/x-matroska",
    "mov": "video/quicktime",
    "gif": "image/gif",
    "webp": "image/webp",
    "png": "image/png",
    "jpg": "image/jpeg",
}
PORT = 8080
PORTS = ("22/tcp", f"{PORT}/http")
PRESETS = ("fast", "hybrid", "quality")
FPS = 16
MULTIPLE = 16
LEAST_SIDE, MOST_SIDE = 128, 2048
LEAST_FRAMES, MOST_FRAMES = 5, 241
# The areas that Wan 2.2 was trained for (workloads.md §4.4).
AREAS = {"480p": 480 * 832, "720p": 720 * 1280}
MAX_LORAS, MAX_STEPS, MAX_CHAIN = 4, 100, 20
MAX_SEED = 2**32 - 1
MAX_PROMPT_CHARACTERS = 20_000
# A grey dot, 16×16: the still of the tiny job that tries a machine.
_DOT = (
    "iVBORw0KGgoAAAANSUhEUgAAABAAAAAQCAIAAACQkWg2AAAAGUlEQVR4"
    "2mNsaGhgIAUwMZAIRjWMahg6GgDJTAGg54KQ4AAAAABJRU5ErkJggg=="
)


@dataclass(frozen=True, slots=True)
class Lora:
    """One pair of files, one for each expert, by name on the volume or by https address."""

    high: str | None
    low: str | None
    high_weight: float = 1.0
    low_weight: float = 1.0

    def to_json(self) -> Json:
        named: Json = {"high_weight": self.high_weight, "low_weight": self.low_weight}
        for side, source in (("high", self.high), ("low", self.low)):
            if source is not None:
                named[f"{side}_url" if source.startswith("https://") else side] = source
        return named


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the operator asked for; None where nothing was said. `picture` is the still's size in
    pixels, `image` and `end_image` its names on the machine."""

    image: str | None
    picture: tuple[int, int] | None
    end_image: str | None = None
    prompt: str = ""
    negative_prompt: str | None = None
    seconds: float | None = None
    frames: int | None = None
    size: tuple[int, int] | None = None
    area: str = "480p"
    steps: int | None = None
    cfg: float | None = None
    seed: int = 0
    loras: tuple[Lora, ...] = ()
    preset: str | None = None
    workflow: str | Json | None = None
    map: Json | None = None
    sets: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Resolved:
    """The job's `input`, as remote_scripts/video/handler.py reads it, and what was rounded."""

    input: Json
    notes: tuple[str, ...] = ()

    def with_input(self, **changes: Any) -> Resolved:
        return replace(self, input={**self.input, **changes})


def resolve(wishes: Wishes) -> Resolved:
    """Raises UsageError for what the model could not do, before anything is started."""
    _check(wishes)
    notes: list[str] = []
    own = isinstance(wishes.workflow, dict)
    size = _size(wishes, notes, own)
    count = _frames(wishes, notes, own)
    given: Json = {
        "client": "gpuctl",
        "image_path": wishes.image,
        "end_image_path": wishes.end_image,
        "prompt": wishes.prompt,
        "negative_prompt": wishes.negative_prompt,
        "seed": wishes.seed,
        "cfg": wishes.cfg,
        "width": size[0] if size else None,
        "height": size[1] if size else None,
        "frames": count,
        "steps": wishes.steps,
        "preset": wishes.preset,
        "lora_pairs": [lora.to_json() for lora in wishes.loras] or None,
        "workflow": wishes.workflow,
        "map": wishes.map,
        "set": dict(wishes.sets) or None,
    }
    return Resolved({k: v for k, v in given.items() if v is not None}, tuple(notes))


def side(pixels: float) -> int:
    """The nearest multiple of 16 that the model can do."""
    return min(MOST_SIDE, max(LEAST_SIDE, int(pixels / MULTIPLE + 0.5) * MULTIPLE))


def fitted(picture: tuple[int, int], area: int) -> tuple[int, int]:
    """About `area` pixels in the proportion of `picture`."""
    scale = (area / (picture[0] * picture[1])) ** 0.5
    return side(picture[0] * scale), side(picture[1] * scale)


def frames(wanted: float) -> int:
    """The nearest 4n+1: any other length would lose the end image (workloads.md §4.4)."""
    return min(MOST_FRAMES, max(LEAST_FRAMES, 4 * int((wanted - 1) / 4 + 0.5) + 1))


def parse_size(text: str) -> tuple[int, int]:
    """WIDTHxHEIGHT. Raises UsageError."""
    found = re.fullmatch(r"(\d{2,5})[x×](\d{2,5})", text.strip().lower())
    if found is None:
        raise UsageError(f"'{text}' is not a size", hint="--size 480x832, --480p or --720p")
    return int(found[1]), int(found[2])


def parse_lora(text: str) -> Lora:
    """HIGH,LOW[:WH,WL]; one file alone is used on both sides. Raises UsageError."""
    files, colon, weights = text.rpartition(":")
    found = re.fullmatch(r"(-?\d*\.?\d+)(?:,(-?\d*\.?\d+))?", weights) if colon else None
    if found is None:
        files = text
    names = [name.strip() for name in files.split(",")]
    if not 1 <= len(names) <= 2 or not any(names):
        raise UsageError(f"--lora {text}: not a pair", hint="--lora HIGH,LOW[:WEIGHT,WEIGHT]")
    high, low = names[0], names[-1]
    for name in filter(None, names):
        if not name.endswith((".safetensors", ".sft", ".gguf")):
            raise UsageError(f"--lora {name}: not a .safetensors file")
    weight = float(found[1]) if found else 1.0
    low_weight = float(found[2]) if found and found[2] else weight
    return Lora(high or None, low or None, weight, low_weight)


def need(section: Mapping[str, Any]) -> Need:
    """No image by default: it is our own, named after the account that it was pushed to."""
    return replace(base.need({**section, "image": section["image"] or ""}), ports=PORTS)


def environment(section: Mapping[str, Any]) -> dict[str, str]:
    """What the container is told, by the names of the service and of the seed."""
    told = {"SERVICE_TOKEN": section.get("token"), "SERVER_ADDRESS": section.get("server_address")}
    return {name: str(value) for name, value in told.items() if value}


def proxy_url(machine_id: str) -> str:
    """Where RunPod's proxy offers a pod's service; it answers only who knows the token."""
    return f"https://{machine_id}-{PORT}.proxy.runpod.net"


def file_name(order: Json, told: Json, artifact: Json) -> tuple[str, str]:
    """The first words of the prompt and the seed, with the suffix of what was made."""
    words = re.findall(r"[^\W_]+", str(told.get("prompt") or order.get("prompt") or "").lower())
    slug = "-".join(words[:6])[:48].rstrip("-") or "video"
    suffix = str(artifact.get("name") or "x.mp4").rpartition(".")[2].lower()
    part = f"-part{told['part']}" if told.get("part") else ""
    seed = artifact.get("seed", order.get("seed", 0))
    return f"{slug}-{seed}{part}", suffix if suffix in FORMATS else "mp4"


def summary(order: Json, metrics: Json, files: int) -> list[str]:
    """Size, length, and what it was made with."""
    width, height = metrics.get("width", order.get("width")), metrics.get("height")
    count, fps = metrics.get("frames") or order.get("frames"), metrics.get("fps") or FPS
    # Of a chain the whole film stands first, and its pieces behind it.
    size = f" {width}×{height}" if height else ""
    parts = [f"{files} video{'s' if files != 1 else ''}{size}"]
    if count:
        parts.append(f"{float(count) / float(fps):.1f} s ({count} frames at {float(fps):g}/s)")
    steps = metrics.get("steps")
    preset = metrics.get("preset") or metrics.get("workflow")
    parts.append(f"{steps} steps, {preset}" if steps else str(preset))
    parts.append(f"seed {metrics.get('seed', order.get('seed'))}")
    return parts


def canary_input(section: Mapping[str, Any]) -> Json | None:  # noqa: ARG001  the protocol's
    """Five frames of a grey dot: both experts are loaded, and a film is saved."""
    return {
        "client": "gpuctl",
        "image_base64": _DOT,
        "prompt": "a small grey stone",
        "width": 256,
        "height": 256,
        "frames": LEAST_FRAMES,
        "preset": "fast",
        "seed": 0,
    }


def _size(wishes: Wishes, notes: list[str], own: bool) -> tuple[int, int] | None:
    """None: a workflow of one's own keeps its size, unless one was asked for."""
    if wishes.size is None:
        if own or wishes.picture is None:
            return None
        return fitted(wishes.picture, AREAS[wishes.area])
    found = side(wishes.size[0]), side(wishes.size[1])
    if found != wishes.size:
        notes.append(
            f"{wishes.size[0]}×{wishes.size[1]} became {found[0]}×{found[1]} (multiples of 16)"
        )
    return found


def _frames(wishes: Wishes, notes: list[str], own: bool) -> int | None:
    if wishes.frames is None and wishes.seconds is None:
        return None if own else frames(5 * FPS)
    asked = wishes.frames if wishes.frames is not None else (wishes.seconds or 0) * FPS
    if asked > MOST_FRAMES:
        raise UsageError(
            f"{asked:g} frames are more than one piece can have ({MOST_FRAMES})",
            hint=f"--chain {int(asked // 80) + 1} makes a longer film out of pieces of 5 s",
        )
    found = frames(asked)
    if wishes.frames is not None and found != wishes.frames:
        notes.append(f"{wishes.frames} frames became {found}: the model makes 4n+1")
    return found


def _check(wishes: Wishes) -> None:
    if len(wishes.prompt) > MAX_PROMPT_CHARACTERS:
        raise UsageError(f"the prompt has more than {MAX_PROMPT_CHARACTERS} characters")
    if not wishes.prompt.strip() and not isinstance(wishes.workflow, dict):
        raise UsageError("the prompt is empty", hint='--prompt "the tide comes in"')
    if wishes.preset is not None and wishes.preset not in PRESETS:
        raise UsageError(
            f"there is no preset '{wishes.preset}'", hint=f"one of {', '.join(PRESETS)}"
        )
    if wishes.seconds is not None and wishes.frames is not None:
        raise UsageError("--seconds and --frames both say how long", hint="give one of them")
    if len(wishes.loras) > MAX_LORAS:
        raise UsageError(f"--lora takes {MAX_LORAS} pairs at most, not {len(wishes.loras)}")
    _within("--seconds", wishes.seconds, 0.1, 600)
    _within("--frames", wishes.frames, 1, 10_000)
    _within("--steps", wishes.steps, 1, MAX_STEPS)
    _within("--cfg", wishes.cfg, 0.0, 30.0)
    _within("--seed", wishes.seed, 0, MAX_SEED)


def _within(name: str, value: float | None, low: float, high: float) -> None:
    if value is not None and not low <= value <= high:
        raise UsageError(f"{name} must be between {low:g} and {high:g}, not {value:g}")
