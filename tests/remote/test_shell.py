"""The Shell contract: the same on this computer, over OpenSSH's sshd and in the simulator."""

from __future__ import annotations

import hashlib
import stat
from pathlib import Path

import pytest

from gpuctl.errors import ConnectionFailed, NotFound, TransferFailed
from gpuctl.remote.base import Completed, Shell

HOSTILE = [
    "plain",
    "",
    'it\'s "quoted"',
    "two\nlines\n",
    "$(touch /tmp/never) `id` ${HOME} $$",
    "; rm -rf / && echo | cat > x < y &",
    "back\\slash\ttab *?[a-z]~ #!",
    "a fox 🦊 in Schönbrunn — 雪",
    "-n",
    "x" * 10_000,
]


def test_a_command_leaves_its_output_its_errors_and_its_exit_code(shell: Shell) -> None:
    completed = shell.run(["sh", "-c", "echo out; echo err >&2; exit 3"])
    assert completed == Completed(3, "out\n", "err\n")


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_any_text_passes_as_an_argument_unchanged(shell: Shell, text: str) -> None:
    assert shell.run(["printf", "%s|", "a", text]).stdout == f"a|{text}|"


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_any_text_passes_through_stdin_unchanged(shell: Shell, text: str) -> None:
    assert shell.run(["cat"], stdin=text.encode()).stdout == text


def test_more_than_any_window_passes_both_ways_at_once(shell: Shell) -> None:
    data = b"0123456789abcdef" * (12 << 16)
    assert shell.run(["cat"], stdin=data).stdout == data.decode()


def test_a_flood_of_errors_does_not_stop_a_command_and_its_end_is_kept(shell: Shell) -> None:
    script = "head -c 9000000 /dev/zero | tr '\\0' e >&2; echo last words >&2; echo done"
    completed = shell.run(["sh", "-c", script])
    assert completed.stdout == "done\n"
    assert completed.stderr.endswith("elast words\n")
    assert len(completed.stderr) == 64 << 10


def test_lines_come_as_they_are_written(shell: Shell) -> None:
    process = shell.start(["sh", "-c", "echo one; read answer; echo $answer; printf end"])
    lines = process.lines()
    assert next(lines) == "one"
    process.write(b"two\n")
    assert list(lines) == ["two", "end"]
    assert process.wait() == 0
    process.close()


def test_a_command_that_takes_too_long_is_given_up_and_said_so(shell: Shell) -> None:
    with pytest.raises(ConnectionFailed, match=r"`sleep` did not end within 0.2 s"):
        shell.run(["sleep", "30"], timeout_s=0.2)


def test_a_command_killed_by_a_signal_is_not_mistaken_for_a_lost_one(shell: Shell) -> None:
    assert shell.run(["sh", "-c", "kill -9 $$"]).exit_code >= 128


def test_a_file_goes_up_and_comes_back_the_same(
    shell: Shell, big_file: Path, tmp_path: Path
) -> None:
    there, back = tmp_path / "new folder" / "it's there", tmp_path / "back"
    seen: list[tuple[int, int]] = []
    shell.put(big_file, str(there), on_bytes=lambda done, total: seen.append((done, total)))
    shell.get(str(there), back, size=3_000_000, sha256=sha256(big_file))
    assert back.read_bytes() == big_file.read_bytes()
    assert seen[-1] == (3_000_000, 3_000_000)
    assert [path.name for path in there.parent.iterdir()] == ["it's there"]
    assert not back.with_name("back.part").exists()


def test_an_upload_sets_the_mode_it_was_told(shell: Shell, big_file: Path, tmp_path: Path) -> None:
    shell.put(big_file, str(tmp_path / "secret"), mode=0o600)
    assert stat.S_IMODE((tmp_path / "secret").stat().st_mode) == 0o600


def test_an_upload_replaces_a_file_only_when_it_is_whole(shell: Shell, tmp_path: Path) -> None:
    target, source = tmp_path / "target", tmp_path / "source"
    target.write_text("old")
    source.write_text("new")
    reader = target.open()
    shell.put(source, str(target))
    assert (reader.read(), target.read_text()) == ("old", "new")
    reader.close()


def test_an_upload_that_cannot_be_written_says_why(
    shell: Shell, big_file: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(TransferFailed, match=r"could not write .*: .*mkdir"):
        shell.put(big_file, str(tmp_path / "file" / "below"))


def test_a_download_goes_on_where_an_earlier_one_stopped(
    shell: Shell, big_file: Path, tmp_path: Path
) -> None:
    target = tmp_path / "target"
    (tmp_path / "target.part").write_bytes(big_file.read_bytes()[:1_234_567])
    seen: list[int] = []
    shell.get(
        str(big_file),
        target,
        size=3_000_000,
        sha256=sha256(big_file),
        on_bytes=lambda done, total: seen.append(done),
    )
    assert target.read_bytes() == big_file.read_bytes()
    assert seen[0] > 1_234_567


def test_a_download_that_arrives_damaged_is_refused_and_deleted(
    shell: Shell, big_file: Path, tmp_path: Path
) -> None:
    (tmp_path / "target.part").write_bytes(b"not the beginning of it")
    with pytest.raises(TransferFailed, match="arrived damaged"):
        shell.get(str(big_file), tmp_path / "target", size=3_000_000, sha256=sha256(big_file))
    assert list(tmp_path.glob("target*")) == []


def test_a_download_of_the_wrong_size_is_refused(
    shell: Shell, big_file: Path, tmp_path: Path
) -> None:
    with pytest.raises(TransferFailed, match="3000000 bytes instead of 3000001"):
        shell.get(str(big_file), tmp_path / "target", size=3_000_001)


def test_a_file_that_is_not_there_is_called_missing(shell: Shell, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="there is no /nowhere/at all"):
        shell.get("/nowhere/at all", tmp_path / "target", size=5)


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
