"""From pictures, words and flags to a checked order for a film. Starts nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from gpuctl.config import Settings
from gpuctl.errors import NotFound, UsageError
from gpuctl.models import Json
from gpuctl.services import destinations, workflows
from gpuctl.services.destinations import Destination
from gpuctl.services.generating import Order
from gpuctl.services.inputs import content_name
from gpuctl.workloads import video
from gpuctl.workloads.video import Wishes

LIMIT_BYTES = 50 << 20


@dataclass(frozen=True, slots=True)
class Asked:
    """What was typed. `workflow` is a file, or a name that the machine knows."""

    image: str
    prompt: str
    seed: int
    end: str | None = None
    negative_prompt: str | None = None
    seconds: float | None = None
    frames: int | None = None
    size: str | None = None
    steps: int | None = None
    cfg: float | None = None
    loras: tuple[str, ...] = ()
    preset: str | None = None
    workflow: str | None = None
    sets: tuple[str, ...] = ()
    chain: int = 1


@dataclass(frozen=True, slots=True)
class Plan:
    """A film of one piece or several: `wishes` is the first piece's."""

    wishes: Wishes
    image: Path
    end: Path | None
    destination: Destination
    chain: int = 1
    notes: tuple[str, ...] = ()
    inputs: dict[str, Path] = field(default_factory=dict)

    def order(self, prompt: str | None = None) -> Order:
        """The whole of it as one order; `prompt` is what is read instead of the user's own."""
        return piece(self, self.image, self.end, 0, prompt=prompt)


def plan(asked: Asked, destination: Destination, settings: Settings) -> Plan:
    """Raises UsageError, NotFound for everything that can be known here."""
    image, size = picture(asked.image)
    end = picture(asked.end)[0] if asked.end else None
    if not 1 <= asked.chain <= video.MAX_CHAIN:
        raise UsageError(f"--chain must be between 1 and {video.MAX_CHAIN}, not {asked.chain}")
    pixels, area = _size(asked.size or settings.text("video.size"))
    graph, own_map = _workflow(asked.workflow)
    has_length = asked.seconds is not None or asked.frames is not None
    is_own = isinstance(graph, dict)
    wishes = Wishes(
        image=content_name(image),
        picture=size,
        end_image=content_name(end) if end else None,
        prompt=asked.prompt,
        negative_prompt=asked.negative_prompt,
        seconds=asked.seconds if has_length or is_own else settings.number("video.seconds"),
        frames=asked.frames,
        size=None if is_own and asked.size is None else pixels,
        area=area,
        steps=asked.steps,
        cfg=asked.cfg,
        seed=asked.seed,
        loras=tuple(map(video.parse_lora, asked.loras)),
        preset=asked.preset or (None if asked.workflow else settings.text("video.preset")),
        workflow=graph,
        map=own_map,
        sets=workflows.sets(asked.sets),
    )
    notes = video.resolve(wishes).notes
    return Plan(wishes, image, end, destination, asked.chain, notes)


def piece(
    plan: Plan, image: Path, end: Path | None, part: int, *, prompt: str | None = None
) -> Order:
    """Piece `part` of a chain (0: it is the whole film), from `image` to `end`."""
    names = {content_name(path): path for path in (image, end) if path is not None}
    changed = replace(
        plan.wishes,
        image=content_name(image),
        end_image=content_name(end) if end else None,
        prompt=prompt or plan.wishes.prompt,
    )
    resolved = video.resolve(changed)
    told: Json = {
        "prompt": plan.wishes.prompt,
        "enhanced": prompt if prompt != plan.wishes.prompt else None,
        "receipt": {"inputs": {name: str(path.absolute()) for name, path in names.items()}},
    }
    if part:
        told["part"] = part
    return Order(video.NAME, resolved.input, plan.destination, names, told)


def destination(out: str | None, settings: Settings) -> Destination:
    """`--out`, else the configured folder. Raises UsageError."""
    return destinations.plan(out, settings.path("video.output_dir"), tuple(video.FORMATS))


def picture(text: str) -> tuple[Path, tuple[int, int]]:
    """A picture here and its size as it is shown. Raises NotFound, UsageError."""
    from PIL import Image, UnidentifiedImageError  # noqa: PLC0415  only for a film

    path = Path(text).expanduser()
    if not path.is_file():
        raise NotFound(f"there is no picture {path}", hint="gpuctl video still.png --prompt …")
    if path.stat().st_size > LIMIT_BYTES:
        raise UsageError(f"{path} has more than {LIMIT_BYTES >> 20} MB", hint="make it smaller")
    try:
        with Image.open(path) as file:
            if file.format not in ("PNG", "JPEG", "WEBP"):
                raise UsageError(
                    f"{path} is a {file.format}", hint="save it as PNG, JPEG or WebP first"
                )
            # The machine turns it as it was taken (EXIF 5 to 8: on its side).
            turned = file.getexif().get(0x0112, 1) >= 5
            width, height = file.size
    except (UnidentifiedImageError, OSError, Image.DecompressionBombError) as error:
        raise UsageError(f"{path} cannot be read as a picture: {error}") from None
    return path, ((height, width) if turned else (width, height))


def _size(text: str) -> tuple[tuple[int, int] | None, str]:
    if text.lower() in video.AREAS:
        return None, text.lower()
    return video.parse_size(text), "480p"


def _workflow(text: str | None) -> tuple[str | Json | None, Any]:
    if text is None:
        return None, None
    path = Path(text).expanduser()
    if path.suffix.lower() == ".json" or path.is_file():
        return workflows.read(path)
    return text, None


def one_of(*, size: str | None, p480: bool, p720: bool) -> str | None:
    """--size, --480p or --720p. Raises UsageError for more than one."""
    given: Sequence[str] = [
        text for text in (size, "480p" if p480 else None, "720p" if p720 else None) if text
    ]
    if len(given) > 1:
        raise UsageError(f"{' and '.join(given)} are two sizes", hint="give one of them")
    return given[0] if given else None
