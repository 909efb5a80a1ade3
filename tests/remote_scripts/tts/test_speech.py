"""A job from its input to a file, with the simulated engine: the way is the real one's."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.remote_scripts.tts.conftest import (
    RATE,
    REMOTE_SCRIPTS,
    Desk,
    decoded,
    probe,
    voice_like,
    write_wav,
)

pytestmark = pytest.mark.ffmpeg
LONG = "The first sentence is here. The second one follows, as it should. And a third ends it."


def test_a_text_becomes_opus_at_24_khz_and_says_that_it_is_simulated(desk: Desk) -> None:
    done = desk.run(text="Hello from the queue.")
    assert (done.path.name, done.artifact["media_type"]) == ("J1.ogg", "audio/ogg")
    found = probe(done.path)
    assert (found["codec_name"], found["channels"]) == ("opus", 1)
    assert _opus_input_rate(done.path) == 24_000
    assert found["seconds"] == pytest.approx(done.metrics["audio_s"], abs=0.05)
    assert found["tags"]["comment"].startswith("SIMULATED")
    assert float(np.abs(decoded(done.path)).max()) > 0.05
    assert done.artifact["sha256"] == hashlib.sha256(done.path.read_bytes()).hexdigest()


def test_the_answer_is_the_seeds_and_tells_the_models_true_rate(desk: Desk) -> None:
    done = desk.run(session_id="my-session")
    response = done.metrics["response"]
    assert response["status"] == "completed"
    assert response["filename"] == done.path.name == "my-session.ogg"
    metadata = response["metadata"]
    assert (metadata["sample_rate"], metadata["codec"], metadata["bitrate"]) == (
        24000,
        "opus",
        "128k",
    )
    assert metadata["model_sample_rate"] == RATE
    assert metadata["duration"] == pytest.approx(done.metrics["audio_s"], abs=0.01)


@pytest.mark.parametrize(
    ("kind", "codec", "rate"),
    [("wav", "pcm_s16le", 22050), ("flac", "flac", 22050), ("mp3", "mp3", 22050)],
)
def test_other_formats_keep_the_models_own_rate(
    desk: Desk, kind: str, codec: str, rate: int
) -> None:
    done = desk.run(format=kind)
    found = probe(done.path)
    assert (found["codec_name"], int(found["sample_rate"])) == (codec, rate)
    assert found["seconds"] == pytest.approx(done.metrics["audio_s"], abs=0.1)
    assert done.artifact["sample_rate"] == done.metrics["model_sample_rate"] == rate


def test_a_lower_bitrate_makes_a_smaller_file(desk: Desk) -> None:
    sizes = [desk.run(bitrate_kbps=rate).artifact["bytes"] for rate in (128, 32)]
    assert sizes[1] < sizes[0] / 2


def test_every_chunk_is_told_as_it_is_spoken_and_where_it_lies(desk: Desk) -> None:
    done = desk.run(text=LONG, max_chars_per_chunk=50)
    count = len(done.metrics["chunks"])
    assert count >= 3
    assert done.told("speak") == [(number, count) for number in range(count + 1)]
    spans = [(part["start_s"], part["end_s"]) for part in done.metrics["chunks"]]
    assert all(a < b for a, b in spans)
    assert all(end < start for (_, end), (start, _) in pairwise(spans))
    assert spans[-1][1] == pytest.approx(done.metrics["audio_s"], abs=0.01)
    assert " ".join(part["text"] for part in done.metrics["chunks"]) == LONG


def test_the_same_order_gives_the_same_sound_and_every_part_of_it_counts(
    desk: Desk, voice: Path
) -> None:
    write_wav(desk.voices / "other.wav", voice_like(6.0, hertz=220.0))

    def heard(**given: Any) -> str:
        return str(desk.run(format="wav", **given).artifact["sha256"])

    first = heard()
    for path in desk.home.glob("output_audio/takes/*/*"):
        path.unlink()
    assert heard() == first
    others = [
        heard(seed=1),
        heard(speaker_voice="other"),
        heard(text="Hello where."),
        heard(speed=1.5),
        heard(emo_vector=[0.5, 0, 0, 0, 0, 0, 0, 0]),
    ]
    assert len({first, *others}) == 6


def test_a_redone_chunk_changes_and_the_others_are_not_spoken_again(desk: Desk) -> None:
    before = desk.run(text=LONG, max_chars_per_chunk=50, format="wav")
    after = desk.run(
        text=LONG, max_chars_per_chunk=50, format="wav", redo=[{"chunk": 2, "seed": 99}]
    )
    parts = after.metrics["chunks"]
    assert [part["seed"] for part in parts] == [0, 99, *[0] * (len(parts) - 2)]
    assert [part["is_kept"] for part in parts] == [True, False, *[True] * (len(parts) - 2)]
    assert [part["text"] for part in parts] == [p["text"] for p in before.metrics["chunks"]]
    first = before.metrics["chunks"][0]
    start, end = round(first["start_s"] * RATE), round(first["end_s"] * RATE)
    old, new = (decoded(outcome.path) for outcome in (before, after))
    # Loudness is matched anew, so that only its scale may differ.
    alike = np.corrcoef(old[start:end], new[start:end])[0, 1]
    assert alike > 0.999


def test_without_chunking_it_is_one_piece(desk: Desk) -> None:
    assert len(desk.run(text=LONG * 5, enable_chunking=False).metrics["chunks"]) == 1


def test_the_seeds_crossfade_is_done_when_asked_for_and_warned_of(desk: Desk) -> None:
    faded = desk.run(text=LONG, max_chars_per_chunk=50, enable_crossfade=True)
    plain = desk.run(text=LONG, max_chars_per_chunk=50)
    assert "may cost sounds" in faded.said()
    assert "may cost sounds" not in plain.said()
    assert faded.metrics["audio_s"] < plain.metrics["audio_s"]


def test_emotions_without_effect_and_scaled_ones_are_said(desk: Desk) -> None:
    said = desk.run(emo_vector=[1, 1, 0, 0, 0, 0, 0, 0], emo_text="glad", speeker="x").said()
    assert "emo_vector was scaled to add up to 0.8" in said
    assert "emo_vector has no effect" in said
    assert "not known and ignored: speeker" in said


@pytest.mark.parametrize(
    "text", ["你好，世界。今天天气很好！", "これはテストです。", "Hola, ¿qué tal?"]
)
def test_other_scripts_are_spoken(desk: Desk, text: str) -> None:
    done = desk.run(text=text)
    assert done.metrics["audio_s"] > 2
    assert done.metrics["lang"] == ("ZH" if "你" in text else "JA" if "こ" in text else "EN")


def test_without_espeak_tones_stand_for_the_syllables(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tts.sim_engine._espeak", lambda: None)
    short, long = desk.run(text="Hello."), desk.run(text="Hello, this has many more syllables.")
    assert short.metrics["audio_s"] < long.metrics["audio_s"]
    assert float(np.abs(decoded(long.path)).max()) > 0.05


def test_a_cancelled_job_stops_between_chunks_and_leaves_no_file(desk: Desk) -> None:
    done = desk.run(
        text=LONG, max_chars_per_chunk=50, is_cancelled=lambda seen: ("speak", 1) in _stages(seen)
    )
    assert done.failure["code"] == "cancelled"
    assert list(desk.workspace.glob("jobs/*/outputs/*")) == []


def test_two_jobs_at_once_speak_one_after_the_other(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither IndexTTS nor anything around it may be entered twice."""
    from tts import sim_engine

    inside, most = [], []
    say = sim_engine.SimEngine.say

    def watched(self: Any, *given: Any) -> Any:
        inside.append(1)
        most.append(len(inside))
        try:
            return say(self, *given)
        finally:
            inside.pop()

    monkeypatch.setattr(sim_engine.SimEngine, "say", watched)
    from tts import config, engine, voices
    from tts.request import parse

    settings = config.from_environment({}, desk.workspace)
    request = parse({"text": LONG, "max_chars_per_chunk": 50})
    delivery = engine.Delivery(voices.prepare("me", "speaker_voice", settings), "EN")

    def speak() -> None:
        engine.speak(request, delivery, sim_engine.SimEngine(), settings)

    threads = [threading.Thread(target=speak) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) == 1


def test_a_full_disk_is_named_and_leaves_nothing_half_written(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GPUCTL_SIM_DISK_FULL", "1")
    done = desk.run()
    assert done.failure["code"] == "disk_full"
    assert "free space" in done.failure["remedy"]
    assert list(desk.workspace.rglob("*.part")) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
@pytest.mark.parametrize("kind", ["ogg", "mp3", "flac", "wav"])
def test_a_disk_that_is_really_full_is_named_whoever_writes(kind: str) -> None:
    from tts import encoding
    from worker import report

    with pytest.raises(report.Failure) as caught, report.disk_full_named():
        encoding.encode(voice_like(5.0), RATE, Path("/dev/full"), kind)
    assert caught.value.code == "disk_full"


def test_what_nobody_used_for_days_is_removed_and_nothing_else(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.run()
    outputs = desk.home / "output_audio"
    (take,) = outputs.glob("takes/*/*.wav")
    kept, old = outputs / "new.ogg", outputs / "old.ogg"
    elsewhere = desk.workspace / "elsewhere.ogg"
    for path in (kept, old, elsewhere):
        path.write_bytes(b"x")
    (outputs / "link.ogg").symlink_to(elsewhere)
    long_ago = time.time() - 3 * 86_400
    for path in (old, elsewhere, take):
        os.utime(path, (long_ago, long_ago))
    monkeypatch.setenv("CLEANUP_DAYS", "2")
    desk.run(text="Another one.")
    assert kept.exists()
    assert not old.exists()
    assert not take.exists()
    assert elsewhere.exists()


def test_the_health_check_loads_nothing_and_names_what_is_there(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = desk.run(health_check=True).metrics["response"]
    assert (said["status"], said["voices"], said["s3"]) == ("healthy", ["me"], False)
    monkeypatch.delenv("GPUCTL_ENGINE")
    said = desk.run(health_check=True).metrics["response"]
    assert (said["status"], said["model_present"]) == ("unhealthy", False)


def test_ten_thousand_characters_are_one_job(desk: Desk) -> None:
    text = ("All work and no play makes a long text. " * 250)[:10_000].strip()
    done = desk.run(text=text, format="wav")
    assert done.metrics["audio_s"] > 300
    assert len(done.metrics["chunks"]) > 30


def test_the_program_itself_warms_up_and_names_what_is_missing(desk: Desk) -> None:
    env = {**os.environ, "GPUCTL_WORKSPACE": str(desk.workspace)}
    argv = [sys.executable, str(REMOTE_SCRIPTS / "tts/handler.py"), "--warmup"]
    done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=60)
    assert (done.returncode, "is loaded" in done.stderr) == (0, True), done.stderr
    env["GPUCTL_ENGINE"] = ""
    done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "no model in" in done.stderr
    assert "bootstrap.sh" in done.stderr


def test_the_handler_imports_nothing_but_the_standard_library() -> None:
    """The worker's daemon imports it with whatever Python the machine has."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import tts.handler, tts.sim_engine\n"
        "import tts.indextts_engine\n"
        "roots = {name.partition('.')[0] for name in sys.modules} - {'tts', 'worker', '__main__'}\n"
        "sys.stdout.write(','.join(sorted(roots - sys.stdlib_module_names)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, str(REMOTE_SCRIPTS)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == ""


def _stages(seen: list[dict[str, Any]]) -> list[tuple[Any, Any]]:
    return [(event.get("stage"), event.get("done")) for event in seen]


def _opus_input_rate(path: Path) -> int:
    """The rate that was encoded, as the stream's own header has it; decoders always say 48 kHz."""
    data = path.read_bytes()
    at = data.index(b"OpusHead")
    return int.from_bytes(data[at + 12 : at + 16], "little")
