"""`gpuctl --sim transcribe`, from the first command to a file with every word in it."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from gpuctl.cli import main
from gpuctl.sim import processes
from tests.journeys.conftest import Person, until
from tests.support.whisper_service import WORDS, silence, spelled, write_wav

pytestmark = pytest.mark.ffmpeg


def _lines(stdout: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stdout.splitlines()]


def _words(text: str) -> list[str]:
    return [word for word in text.split() if word != "[sim]"]


def test_from_nothing_to_subtitles_on_a_rented_pod(person: Person) -> None:
    """The first command rents; the next ones find the same pod."""
    write_wav(person.folder / "talk.wav", spelled(WORDS))
    done = person.types("--sim", "transcribe", "talk.wav", "--format", "srt")
    assert done.code == 0, done.stderr
    file = person.folder / done.stdout.strip()
    assert file == person.folder / "outputs" / "talk.srt"
    blocks = file.read_text().strip().split("\n\n")
    assert [block.splitlines()[2].split()[-1] for block in blocks] == WORDS
    assert blocks[0].splitlines()[1] == "00:00:00,200 --> 00:00:00,700"
    receipt = json.loads(Path(f"{file}.json").read_text())
    assert receipt["workload"] == "whisper"
    assert receipt["machine"]["gpu"]
    assert receipt["details"]["audio_s"] == pytest.approx(13.2)
    assert receipt["cost_usd"] > 0
    assert receipt["engine"] == "sim"

    listed = person.simulates("jobs", "list").data["jobs"]
    assert [job["workload"] for job in listed] == ["whisper"]
    assert listed[0]["file"] == str(file)
    assert listed[0]["cost_usd"] > 0

    again = _lines(person.types("--sim", "--json", "transcribe", "talk.wav").stdout)
    events, envelope = again[:-1], again[-1]
    final = [event["text"] for event in events if event["event"] == "segment"]
    assert _words(" ".join(final)) == WORDS, "each is told once"
    row = envelope["data"]["transcripts"][0]
    assert _words(row["text"]) == WORDS
    assert row["file"] == "outputs/talk.txt"
    assert row["lost"] == []
    assert row["receipt"]["machine"] == receipt["machine"], "the same pod"

    health = person.simulates("test", "health").data
    assert [check["ok"] for check in health["checks"]] == [True] * 3
    assert health["checks"][2]["body"]["gpus"][0]["name"] == receipt["machine"]["gpu"]
    heard = person.simulates("test", "transcription").data
    assert heard["word_error"] == 0

    assert person.simulates("replay", str(file)).error["hint"] == "gpuctl transcribe talk.wav"
    attached = person.simulates("jobs", "attach", listed[0]["job"]).data
    assert attached["files"] == listed[0]["files"], "nothing is left on the machine to watch"

    _a_pipe_is_heard(person)
    _several_files_go_on_after_one_that_fails(person)
    _nothing_is_replaced_unasked(person)


def _a_pipe_is_heard(person: Person) -> None:
    with (person.folder / "talk.wav").open("rb") as sound:
        process = person.start("--sim", "transcribe", "--stdin", stdin=sound.fileno())
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert _words(out) == WORDS


def _several_files_go_on_after_one_that_fails(person: Person) -> None:
    (person.folder / "notes.mp3").write_text("no sound")
    write_wav(person.folder / "short.wav", spelled(["golf"]))
    argv = ("transcribe", "notes.mp3", "gone.wav", "short.wav", "--out", "texts/", "-f", "txt")
    done = person.types("--sim", "--json", *argv)
    envelope = _lines(done.stdout)[-1]
    assert done.code == 1
    assert envelope["ok"] is False
    bad, gone, good = envelope["data"]["transcripts"]
    assert "cannot be read as sound" in bad["error"]
    assert "there is no file" in gone["error"]
    assert good["file"] == "texts/short.txt"
    assert (person.folder / "texts/short.txt").read_text() == "[sim] golf\n"


def _nothing_is_replaced_unasked(person: Person) -> None:
    argv = ("transcribe", "short.wav", "--out", "texts/short.txt")
    assert person.simulates(*argv).code == 2
    assert person.types("--sim", "--yes", *argv).code == 0
    second = person.types("--sim", "transcribe", "short.wav", "--out", "texts/")
    assert second.stdout.strip() == "texts/short-2.txt"


def test_a_dropped_ssh_connection_loses_and_doubles_no_word(person: Person) -> None:
    """The tunnel is made again, also when the pod came back at another address."""
    spoken = WORDS[:6]
    write_wav(person.folder / "talk.wav", spelled(spoken))
    write_wav(person.folder / "short.wav", spelled(["golf"]))
    assert person.types("--sim", "transcribe", "short.wav").code == 0
    assert person.simulates("sim", "fault", "ssh-drop", "--value", "seconds:3").code == 0
    done = person.types("--sim", "--json", "transcribe", "talk.wav", "--realtime")
    assert done.code == 0, done.stderr
    row = _lines(done.stdout)[-1]["data"]["transcripts"][0]
    assert _words(row["text"]) == spoken
    assert "going on where it stopped" in done.stderr
    assert row["reconnects"] >= 1


def test_ctrl_c_keeps_what_was_heard_and_says_what_is_missing(person: Person) -> None:
    write_wav(person.folder / "talk.wav", spelled(WORDS) + silence(60))
    write_wav(person.folder / "short.wav", spelled(["golf"]))
    assert person.types("--sim", "transcribe", "short.wav").code == 0
    process = person.start("--sim", "--json", "transcribe", "talk.wav", "--realtime")
    assert process.stdout is not None
    events = []
    while not any(event["event"] == "segment" for event in events):
        events.append(json.loads(process.stdout.readline()))
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 130
    assert json.loads(out.splitlines()[-1])["error"]["code"] == "interrupted"
    assert "alpha" in (person.folder / "outputs/talk.txt").read_text()
    receipt = json.loads((person.folder / "outputs/talk.txt.json").read_text())
    assert receipt["details"]["lost"][0]["end"] is None
    newest = person.simulates("jobs", "list").data["jobs"][0]
    assert newest["status"] == "failed"


def _kill_service(person: Person) -> None:
    """That of this person's pod, and no other on this computer."""
    marked = str(person.sim_folder.resolve())
    killed = 0
    for pid in processes.with_marker(processes.FOLDER_MARKER, marked):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        if words[-3:-1] == [b"service", b"whisper"]:
            os.kill(pid, signal.SIGKILL)
            killed += 1
    assert killed == 1


def test_a_service_that_dies_leaves_a_span_that_is_named_and_exit_code_1(person: Person) -> None:
    write_wav(person.folder / "talk.wav", spelled(WORDS * 3))
    write_wav(person.folder / "short.wav", spelled(["golf"]))
    person.environ["GPUCTL_SSH__RECONNECT_LIMIT_S"] = "1"
    assert person.types("--sim", "transcribe", "short.wav").code == 0
    process = person.start("--sim", "--json", "transcribe", "talk.wav", "--realtime")
    assert process.stdout is not None
    while json.loads(process.stdout.readline())["event"] != "segment":
        pass
    _kill_service(person)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1, out + err
    row = json.loads(out.splitlines()[-1])["data"]["transcripts"][0]
    assert row["lost"][0]["end"] is None
    assert "to the end could not be transcribed" in err
    assert (person.folder / row["file"]).read_text().startswith("[sim] alpha")


def test_deploy_tries_the_service_and_prints_where_it_answers(person: Person) -> None:
    person.environ["GPUCTL_DEPLOY__CANARY"] = "true"
    assert person.types("--sim", "build", "whisper", "--slim").code == 0
    assert person.types("--sim", "push", "whisper", "--slim").code == 0
    argv = ("deploy", "whisper", "--slim", "--no-gate", "--reason", "a test")
    done = person.types("--sim", *argv)
    assert done.code == 0, done.stderr
    assert "works: heard the sample with a word error of 0%" in done.stderr
    machine = person.simulates("status").data["machines"][0]
    assert f"wss://{machine['id']}-9090.proxy.runpod.net" in done.stdout
    assert f"https://{machine['id']}-9999.proxy.runpod.net/health" in done.stdout
    until(lambda: person.simulates("test", "health").code == 0, "its health")


@pytest.mark.parametrize(
    "argv",
    [
        (),
        ("a.wav", "--mic"),
        ("a.wav", "--raw"),
        ("a.wav", "--format", "doc"),
        ("a.wav", "--format", "srt", "--out", "b.vtt"),
        ("a.wav", "b.wav", "--out", "c.srt"),
        ("a.wav", "--on", "ftp://somewhere"),
        ("a.wav", "--on", "ws://me:secret@somewhere:9090"),
    ],
    ids=" ".join,
)
def test_what_cannot_be_meant_is_refused_before_anything_is_rented(
    private_home: Path, argv: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    write_wav(private_home / "project/a.wav", spelled(["alpha"]))
    assert main(["--sim", "--json", "transcribe", *argv]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "usage"
    assert list(private_home.rglob("sim.json")) == []
