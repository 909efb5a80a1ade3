"""A recording carries its receipt, and plays as before."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from pathlib import Path

import pytest

from gpuctl.errors import GpuctlError
from gpuctl.models import Artifact, JobRecord
from gpuctl.services import media_metadata, receipts

pytestmark = [
    pytest.mark.ffmpeg,
    pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="no ffmpeg here"),
]
FORMATS = {
    "ogg": ("-c:a", "libopus"),
    "flac": (),
    "mp3": (),
    "wav": (),
    "mp4": ("-f", "lavfi", "-i", "color=red:s=64x48:d=0.4", "-pix_fmt", "yuv420p"),
}
RECEIPT = json.dumps(
    {"schema": "gpuctl-receipt/1", "text": "ünï — “quoted” \\ 日本"}, ensure_ascii=False
)


def a_recording(folder: Path, suffix: str) -> Path:
    path = folder / f"sound.{suffix}"
    tone = ("-f", "lavfi", "-i", "sine=frequency=440:duration=0.4")
    run("ffmpeg", "-v", "error", "-y", *tone, *FORMATS[suffix], str(path))
    return path


def run(*argv: str) -> bytes:
    return subprocess.run(argv, check=True, capture_output=True).stdout


def decoded(path: Path) -> str:
    """A digest of every sample and every pixel."""
    return run("ffmpeg", "-v", "error", "-i", str(path), "-f", "md5", "-").decode()


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_receipt_goes_in_comes_back_and_changes_no_sample(tmp_path: Path, suffix: str) -> None:
    path = a_recording(tmp_path, suffix)
    before = decoded(path)
    assert media_metadata.read(path) is None
    media_metadata.embed(path, RECEIPT)
    assert media_metadata.read(path) == RECEIPT
    media_metadata.embed(path, RECEIPT.replace("ünï", "other"))
    assert media_metadata.read(path) == RECEIPT.replace("ünï", "other")
    assert decoded(path) == before
    assert not list(tmp_path.glob(".*.part*"))


@pytest.mark.parametrize("suffix", FORMATS)
def test_what_is_no_recording_is_named_and_left_as_it_is(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"broken.{suffix}"
    path.write_bytes(b"RIFF and nothing more")
    with pytest.raises(GpuctlError, match=r"broken\."):
        media_metadata.embed(path, RECEIPT)
    assert path.read_bytes() == b"RIFF and nothing more"
    assert not list(tmp_path.glob(".*.part*"))


def test_a_job_of_any_workload_leaves_a_receipt_that_makes_it_again(tmp_path: Path) -> None:
    path = a_recording(tmp_path, "ogg")
    artifact = Artifact(
        "/workspace/jobs/1/outputs/a.ogg",
        path.stat().st_size,
        hashlib.sha256(path.read_bytes()).hexdigest(),
        "audio/ogg",
    )
    order = {"text": "Hello.", "voice": "inputs/ab.wav", "seed": 7, "speed": 1.0}
    told = {"prompt": "Hello.", "receipt": {"voice": {"name": "me", "consent": "my own"}}}
    record = JobRecord(
        "01J", "tts", "pod", "pod", "done", 1.0, order, told, (artifact,), (str(path),)
    )
    left = receipts.leave(path, record, artifact, 0.002)
    assert receipts.read(path) == left
    assert left["details"]["voice"]["consent"] == "my own"
    assert left["prompts"]["text_encoder"] == "Hello."
    assert left["seed"] == 7
    assert receipts.job_input(left) == order
