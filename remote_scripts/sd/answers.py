"""What the WebUI sent back: its pictures as files, its words as facts, its shape for outsiders."""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass, field
from typing import Any

from sd import inputs
from sd.request import Request
from worker import report
from worker.report import Failure

Json = dict[str, Any]

# A queue's result may have 10 MB, and base64 adds a third (runpod.md §4, workloads.md §0).
RESULT_LIMIT_BYTES = 9_000_000


@dataclass(frozen=True)
class Made:
    """The pictures of one answer, without the grid that the WebUI may put first."""

    pictures: list[bytes]
    info: Json
    raw: Json = field(repr=False)

    @property
    def seeds(self) -> list[int]:
        found = self.info.get("all_seeds") or [self.info.get("seed", 0)]
        return [int(seed) for seed in found]

    @property
    def result_bytes(self) -> int:
        """How large the answer is as it came."""
        return sum(len(text) for text in self.raw.get("images") or ())


def read(answer: Json) -> Made:
    """Raises Failure when the answer holds something else than pictures."""
    try:
        info = json.loads(answer.get("info") or "{}")
        images = [base64.b64decode(text.partition(",")[2] if text.startswith("data:") else text)
                  for text in answer.get("images") or ()]  # fmt: skip
    except (ValueError, binascii.Error, AttributeError, TypeError) as error:
        raise Failure("failed", f"the WebUI's answer is damaged: {error}", "see its log") from error
    first = int(info.get("index_of_first_image") or 0)
    made = images[first:]
    if any(inputs.size_of(image) is None for image in made):
        raise Failure("failed", "the WebUI sent something that is no picture", "see its log")
    # ControlNet and others append their maps to the pictures that were asked for.
    return Made(made, info, answer)


def keep(made: Made) -> None:
    """Writes the pictures, byte for byte: their embedded parameters stay."""
    for index, data in enumerate(made.pictures):
        report.check_cancelled()
        seed = made.seeds[index] if index < len(made.seeds) else None
        suffix, media_type = inputs.media_type(data)
        width, height = inputs.size_of(data) or (0, 0)
        stem = f"{seed}-{index}" if seed is not None else f"extra-{index}"
        with report.write_artifact(
            f"{stem}.{suffix}", media_type, seed=seed, index=index, width=width, height=height
        ) as part:
            part.write_bytes(data)


def keep_one(data: bytes, stem: str) -> Json:
    """Writes a picture that has no seed. Returns its size."""
    size = inputs.size_of(data)
    if size is None:
        raise Failure("failed", "the WebUI sent something that is no picture", "see its log")
    suffix, media_type = inputs.media_type(data)
    fields = {"width": size[0], "height": size[1]}
    with report.write_artifact(f"{stem}.{suffix}", media_type, index=0, **fields) as part:
        part.write_bytes(data)
    return fields


def verify(request: Request, made: Made, wanted_model: str | None, *, interrupted: bool) -> None:
    """Says what the WebUI kept to itself. Raises Failure for a picture of another model."""
    wanted = int(request.body.get("batch_size") or 1) * int(request.body.get("n_iter") or 1)
    if request.body.get("send_images") is False:
        report.log("send_images is false: the pictures stay in the WebUI's folder", "warning")
    elif len(made.pictures) < wanted:
        why = "it was interrupted" if interrupted else "it did not say why"
        report.log(f"the WebUI made {len(made.pictures)} of {wanted} pictures: {why}", "warning")
    elif interrupted:
        report.log("it was interrupted: the picture is not finished", "warning")
    used = made.info.get("sd_model_name")
    if wanted_model and used and used != wanted_model:
        raise Failure(
            "model_missing",
            f"{wanted_model} was asked for, but {used} made the picture",
            "the WebUI could not load it: see its log",
        )


def facts(made: Made, request: Request) -> Json:
    """What the metrics say about the pictures."""
    info, extra = made.info, made.info.get("extra_generation_params") or {}
    return {
        "images": len(made.pictures),
        "seeds": made.seeds[: len(made.pictures)],
        "model": info.get("sd_model_name"),
        "model_hash": info.get("sd_model_hash"),
        "vae": info.get("sd_vae_name"),
        "sampler": info.get("sampler_name"),
        "scheduler": extra.get("Schedule type") or request.body.get("scheduler"),
        "steps": info.get("steps"),
        "cfg_scale": info.get("cfg_scale"),
        "clip_skip": info.get("clip_skip"),
        "width": info.get("width"),
        "height": info.get("height"),
        "webui": info.get("version"),
        "infotexts": list(info.get("infotexts") or ())[-len(made.pictures) :],
    }


def for_outsiders(made: Made) -> tuple[Json | None, bool]:
    """A1111's own answer, and whether the pictures are to be written as files as well.

    Both fit into a queue's result up to half its limit. Above it the answer alone is kept, for that
    is what its callers read; where not even that fits, the files are: nothing is lost.
    """
    size = made.result_bytes
    if 2 * size <= RESULT_LIMIT_BYTES:
        return made.raw, True
    if size <= RESULT_LIMIT_BYTES:
        return made.raw, False
    report.log(
        f"{size / 1e6:.0f} MB of pictures are too much for one answer: they are files instead",
        "warning",
    )
    return {**made.raw, "images": []}, True
