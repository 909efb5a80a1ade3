"""Voices: found by name, confined to their folder, given to the model by content."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from tests.remote_scripts.tts.conftest import RATE, Desk, voice_like, write_wav

pytestmark = pytest.mark.ffmpeg


@pytest.mark.parametrize("name", ["me", "me.wav"])
def test_a_voice_is_found_with_and_without_its_suffix(desk: Desk, name: str) -> None:
    assert desk.run(speaker_voice=name).artifact


@pytest.mark.parametrize("suffix", ["flac", "mp3", "ogg", "m4a"])
def test_a_voice_in_any_usual_format_is_taken(desk: Desk, suffix: str) -> None:
    source = desk.voices / "me.wav"
    argv = ["ffmpeg", "-v", "error", "-i", str(source), str(desk.voices / f"other.{suffix}")]
    subprocess.run(argv, check=True)
    assert desk.run(speaker_voice="other").artifact


def test_a_voice_in_a_folder_of_its_own_is_found(desk: Desk) -> None:
    (desk.voices / "team").mkdir()
    shutil.copy(desk.voices / "me.wav", desk.voices / "team/anna.wav")
    assert desk.run(speaker_voice="team/anna").artifact


def test_a_voice_that_came_with_the_job_is_found_in_the_workspace(desk: Desk, voice: Path) -> None:
    digest = hashlib.sha256(voice.read_bytes()).hexdigest()
    (desk.workspace / "inputs").mkdir()
    shutil.copy(voice, desk.workspace / f"inputs/{digest}.wav")
    done = desk.run(speaker_voice=f"inputs/{digest}.wav")
    assert done.metrics["voice_sha256"] == digest
    missing = desk.run(speaker_voice=f"inputs/{'0' * 64}.wav")
    assert "did not arrive" in missing.failure["message"]


@pytest.mark.parametrize(
    "name",
    [
        "../secret.wav",
        "/etc/passwd",
        "team/../../secret",
        "link.wav",
        "linked/secret",
        "a\0b",
        "..",
    ],
)
@pytest.mark.parametrize("field", ["speaker_voice", "emo_audio_prompt"])
def test_a_name_that_leads_out_of_the_folder_is_refused(desk: Desk, field: str, name: str) -> None:
    secret = desk.home / "secret.wav"
    shutil.copy(desk.voices / "me.wav", secret)
    (desk.voices / "link.wav").symlink_to(secret)
    (desk.voices / "linked").symlink_to(desk.home)
    done = desk.run(**{field: name})
    assert done.failure["code"] == "bad_input"
    assert field in done.failure["message"]
    assert not any(event["event"] == "artifact" for event in done.events)


def test_inputs_are_confined_to_the_workspace_too(desk: Desk) -> None:
    assert desk.run(speaker_voice="inputs/../../../etc/passwd").failure["code"] == "bad_input"


def test_a_voice_that_is_not_there_is_named_with_those_that_are(desk: Desk) -> None:
    failure = desk.run(speaker_voice="nobody").failure
    assert "no voice 'nobody'" in failure["message"]
    assert failure["remedy"].endswith("me")


def test_no_voice_at_all_takes_the_one_called_default(desk: Desk) -> None:
    failure = desk.run(speaker_voice=None).failure
    assert "speaker_voice is missing" in failure["message"]
    shutil.copy(desk.voices / "me.wav", desk.voices / "default.wav")
    assert desk.run(speaker_voice=None).artifact


def test_another_voice_under_the_same_name_is_another_voice(desk: Desk) -> None:
    """The model keeps what it heard by the path's text (workloads.md §1.5)."""
    first = desk.run(format="wav")
    write_wav(desk.voices / "me.wav", voice_like(6.0, hertz=250.0))
    second = desk.run(format="wav")
    assert first.metrics["voice_sha256"] != second.metrics["voice_sha256"]
    assert first.artifact["sha256"] != second.artifact["sha256"]


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda path: path.write_bytes(b""), "is empty"),
        (lambda path: path.write_bytes(b"RIFF, or so it says"), "no sound that can be read"),
        (lambda path: path.write_text("#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n"), "no sound"),
        (lambda path: write_wav(path, np.zeros(3 * RATE)), "is silent"),
        (lambda path: write_wav(path, voice_like(0.4)), "lasts 0.4 s"),
        (lambda path: write_wav(path, np.zeros(0)), "lasts 0.0 s"),
        (lambda path: write_wav(path, np.zeros(1200 * 2756), rate=2756), "lasts 20 minutes"),
    ],
    ids=["empty", "garbage", "playlist", "silent", "short", "header-only", "twenty-minutes"],
)
def test_a_reference_that_is_none_is_refused_by_its_reason(
    desk: Desk, make: object, named: str
) -> None:
    make(desk.voices / "bad.wav")  # type: ignore[operator]
    failure = desk.run(speaker_voice="bad").failure
    assert failure["code"] == "bad_input"
    assert named in failure["message"]
    assert list(desk.voices.glob(".by-content/*.part")) == []


def test_a_long_reference_is_cut_as_the_model_would_and_that_is_said(desk: Desk) -> None:
    write_wav(desk.voices / "long.wav", voice_like(20.0))
    assert "the first 15 of 20 s are used" in desk.run(speaker_voice="long").said()


def test_stereo_at_48_khz_is_made_what_the_model_reads(desk: Desk) -> None:
    target = desk.voices / "studio.wav"
    argv = ["ffmpeg", "-v", "error", "-i", str(desk.voices / "me.wav"), "-ac", "2", "-ar", "48000"]
    subprocess.run([*argv, str(target)], check=True)
    done = desk.run(speaker_voice="studio")
    from tests.remote_scripts.tts.conftest import probe

    found = probe(desk.voices / f".by-content/{done.metrics['voice_sha256']}.wav")
    assert (found["channels"], found["codec_name"]) == (1, "pcm_s16le")
