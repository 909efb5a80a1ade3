"""A picture says what made it, and can be made again from that."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from gpuctl.errors import GpuctlError, NotFound, ValidationFailed
from gpuctl.models import Artifact, JobRecord
from gpuctl.services import image_metadata, receipts

ARTIFACTS = tuple(Artifact(f"outputs/{n}.png", 100 + n, f"{n}" * 64, "image/png") for n in (0, 1))


def a_record() -> JobRecord:
    return JobRecord(
        id="01JD",
        workload="flux",
        machine_id="pod1",
        target="pod1",
        status="done",
        created_at=1_795_000_000.0,
        finished_at=1_795_000_060.0,
        input={
            "prompt": "a lean fox 🦊",
            "clip_prompt": "a lean",
            "model": {"name": "flux-dev", "repo": "black/FLUX", "revision": None, "licence": "NC"},
            "width": 768,
            "height": 1024,
            "steps": 20,
            "guidance": 3.5,
            "seed": 7,
            "count": 2,
            "format": "png",
            "loras": [{"source": "x/y", "weight": 0.8}],
        },
        context={
            "prompt": "a fox \udcff",
            "enhanced": "a lean fox 🦊",
            "clip_tokens": 9,
            "times": {"connect_s": 0.1},
            "machine": {"id": "pod1", "provider": "runpod", "gpu": "L40S", "image": "img@sha256:1"},
            "folder": "/home/me/pictures",
        },
        artifacts=ARTIFACTS,
        price_usd_h=0.79,
        metrics={
            "engine": "bf16",
            "load_s": 3.2,
            "inference_s": 9.1,
            "revision": "abc123",
            "torch": "2.15.0",
            "text_tokens": 11,
        },
    )


def a_picture(folder: Path) -> Path:
    path = folder / "fox-7.png"
    Image.new("RGB", (8, 8), "red").save(path)
    return path


def test_the_receipt_says_all_that_made_the_picture(tmp_path: Path) -> None:
    picture = a_picture(tmp_path)
    left = receipts.leave(picture, a_record(), ARTIFACTS[1], 0.0132)
    assert left["schema"] == "gpuctl-receipt/1"
    assert left["prompts"] == {
        "user": "a fox \udcff",
        "enhanced": "a lean fox 🦊",
        "clip": "a lean",
        "clip_tokens": 9,
        "text_encoder": "a lean fox 🦊",
        "text_encoder_tokens": 11,
    }
    assert left["seed"] == 8
    assert left["parameters"] == {
        "width": 768, "height": 1024, "steps": 20, "guidance": 3.5, "format": "png",
    }  # fmt: skip
    assert (left["model"]["repo"], left["model"]["revision"]) == ("black/FLUX", "abc123")
    assert left["machine"] == {"id": "pod1", "provider": "runpod", "gpu": "L40S"}
    assert (left["engine"], left["image"], left["cost_usd"]) == ("bf16", "img@sha256:1", 0.0132)
    assert left["timings"] == {"connect_s": 0.1, "load_s": 3.2, "inference_s": 9.1}
    assert left["artifact"] == {"sha256": "1" * 64, "bytes": 101, "media_type": "image/png"}
    assert left["created_at"] == "2026-11-18T11:07:40+00:00"
    assert "/home/me" not in json.dumps(left)


def test_it_lies_beside_the_picture_and_inside_it(tmp_path: Path) -> None:
    picture = a_picture(tmp_path)
    left = receipts.leave(picture, a_record(), ARTIFACTS[0], None)
    beside = tmp_path / "fox-7.png.json"
    assert json.loads(beside.read_text()) == json.loads(str(image_metadata.read(picture))) == left
    assert receipts.read(picture) == receipts.read(beside) == left
    with Image.open(picture) as opened:
        assert opened.info["parameters"].splitlines() == [
            "a lean fox 🦊",
            "Steps: 20, CFG scale: 3.5, Seed: 7, Size: 768x1024, Model: black/FLUX, "
            f"Version: gpuctl {left['gpuctl']}",
        ]


def test_either_copy_is_enough(tmp_path: Path) -> None:
    picture = a_picture(tmp_path)
    left = receipts.leave(picture, a_record(), ARTIFACTS[0], None)
    moved = picture.rename(tmp_path / "moved.png")
    assert receipts.read(moved) == left
    a_picture(tmp_path)
    assert receipts.read(picture) == left


def test_a_picture_that_cannot_carry_it_still_has_it_beside(tmp_path: Path) -> None:
    picture = tmp_path / "fox.png"
    picture.write_bytes(b"not a picture")
    left = receipts.leave(picture, a_record(), ARTIFACTS[0], None)
    assert not receipts.write(picture, left)
    assert picture.read_bytes() == b"not a picture"
    assert receipts.read(picture) == left


def test_the_job_made_from_a_receipt_paints_this_one_picture(tmp_path: Path) -> None:
    order = receipts.job_input(receipts.leave(a_picture(tmp_path), a_record(), ARTIFACTS[1], None))
    first = a_record().input
    assert order == {
        **first,
        "seed": 8,
        "count": 1,
        "model": {**first["model"], "revision": "abc123"},
    }


def test_no_receipt_is_not_found_and_a_strange_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="carries no receipt"):
        receipts.read(a_picture(tmp_path))
    with pytest.raises(NotFound, match="there is no file"):
        receipts.read(tmp_path / "none.png")
    strange = tmp_path / "x.json"
    for text in ("[", "[]", '{"schema":"else/1"}', '{"schema":"gpuctl-receipt/2"}'):
        strange.write_text(text)
        with pytest.raises(ValidationFailed):
            receipts.read(strange)
    strange.with_suffix(".png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(GpuctlError, match="not a complete PNG"):
        receipts.read(strange.with_suffix(".png"))
