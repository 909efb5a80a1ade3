"""Files to a machine and back: cp, sync, upload and df, as typed."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.journeys.conftest import until
from tests.support.household import Household, household

BIG_BYTES = 48 << 20
NAMES = ["plain", "with space", "it's", 'say "hi"', "two\nlines", "grüße", "-dash", "$HOME", "a:b"]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Household]:
    with household(tmp_path_factory.mktemp("home")) as one:
        yield one


@pytest.fixture
def folder(home: Household, tmp_path: Path) -> Path:
    """An empty folder here that nobody else uses; its name is unique on the machine, too."""
    made = home.folder / f"{tmp_path.name}-{time.monotonic_ns()}"
    made.mkdir()
    return made


def tree(root: Path) -> dict[str, tuple[str, int, int]]:
    """Path → content or link, mode, whole mtime."""
    found = {}
    for path in sorted(root.rglob("*")):
        info = path.lstat()
        if path.is_symlink():
            found[str(path.relative_to(root))] = (f"-> {path.readlink()}", 0, 0)
        elif path.is_file():
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            found[str(path.relative_to(root))] = (content, info.st_mode, int(info.st_mtime))
        else:
            found[str(path.relative_to(root))] = ("folder", info.st_mode, int(info.st_mtime))
    return found


def a_tree(root: Path) -> Path:
    root.mkdir()
    for name in NAMES:
        (root / name).write_bytes(os.urandom(1000))
    (root / "inner/deep").mkdir(parents=True)
    (root / "inner/empty").mkdir()
    (root / "inner/deep/run").write_text("#!/bin/sh\n")
    (root / "inner/deep/run").chmod(0o755)
    (root / "inner/link").symlink_to("deep/run")
    (root / "zero").touch()
    os.utime(root / "plain", (1_000_000_000, 1_000_000_000))
    (root / "inner/deep").chmod(0o700)
    return root


def a_big_file(path: Path) -> Path:
    piece = os.urandom(1 << 20)
    with path.open("wb") as out:
        for number in range(BIG_BYTES >> 20):
            out.write(number.to_bytes(4, "big") + piece[4:])
    return path


def mtime(path: Path) -> int:
    return int(path.stat().st_mtime)


# cp


def test_a_tree_goes_there_and_comes_back_the_same(home: Household, folder: Path) -> None:
    source = a_tree(folder / "tree")
    assert home.simulates("cp", str(source), f"flux:{folder.name}").data["files"] == 11
    assert tree(home.workspace / folder.name) == tree(source)
    back = folder / "back"
    data = home.simulates("cp", f"flux:/workspace/{folder.name}", str(back)).data
    assert (data["files"], data["skipped"]) == (11, [])
    assert tree(back) == tree(source)


def test_a_folder_that_is_there_gets_the_copy_inside(home: Household, folder: Path) -> None:
    source = a_tree(folder / "tree")
    for _ in range(2):
        assert home.simulates("cp", "-r", str(source), f":{folder.name}/").code == 0
    assert tree(home.workspace / folder.name / "tree") == tree(source)
    (folder / "here").mkdir()
    assert home.simulates("cp", f":{folder.name}/tree", str(folder / "here")).code == 0
    assert tree(folder / "here/tree") == tree(source)


def test_several_sources_go_into_one_folder(home: Household, folder: Path) -> None:
    (folder / "one").write_text("1")
    (folder / "two").write_text("2")
    sources = [str(folder / "one"), str(folder / "two")]
    assert home.simulates("cp", *sources, f"flux:{folder.name}").data["files"] == 2
    assert (home.workspace / folder.name / "two").read_text() == "2"
    back = [f"flux:{folder.name}/one", f"flux:{folder.name}/two"]
    assert home.simulates("cp", *back, str(folder / "back")).data["files"] == 2
    assert (folder / "back/one").read_text() == "1"


@pytest.mark.parametrize("name", [*NAMES, os.fsdecode(b"not-utf8-\xff")])
def test_a_file_of_any_name_goes_there_and_back(home: Household, folder: Path, name: str) -> None:
    source = folder / name
    source.write_bytes(b"\x00\xff" * 500)
    source.chmod(0o640)
    there = home.workspace / folder.name / name
    sent = home.runs("--sim", "cp", str(source), f"flux:{folder.name}/")
    assert (sent.code, there.read_bytes()) == (0, source.read_bytes()), sent.said
    assert there.stat().st_mode == source.stat().st_mode
    assert mtime(there) == mtime(source)
    brought = home.runs("--sim", "cp", f"flux:{folder.name}/{name}", str(folder / "back"))
    assert (brought.code, (folder / "back").read_bytes()) == (0, source.read_bytes()), brought.said


@pytest.mark.parametrize("direction", ["up", "down"])
def test_a_copy_that_was_killed_goes_on_where_it_stopped(
    home: Household, folder: Path, direction: str
) -> None:
    """Slow: 48 MB each way."""
    there = home.workspace / folder.name
    there.mkdir()
    sides = (folder, there) if direction == "up" else (there, folder)
    source = a_big_file(sides[0] / "big")
    words = [str(folder / "big"), f":{folder.name}/big"]
    argv = words if direction == "up" else words[::-1]

    def part() -> int:
        return sum(file.stat().st_size for file in sides[1].glob("big*.part"))

    process = home.start("--sim", "cp", *argv)
    until(lambda: part() > 1 << 20, "the first megabyte")
    process.kill()
    process.communicate()
    before = part()
    assert 0 < before < BIG_BYTES, "it was killed in the middle"
    until(lambda: not _is_growing(sides[1]), "the end of what was under way")
    assert home.simulates("cp", *argv).code == 0
    assert (sides[1] / "big").read_bytes() == source.read_bytes()
    assert list(sides[1].glob("*.part")) == []


def _is_growing(place: Path) -> bool:
    sizes = [file.stat().st_size for file in place.glob("big*.part")]
    time.sleep(0.1)
    return sizes != [file.stat().st_size for file in place.glob("big*.part")]


def test_a_dropped_connection_does_not_end_a_copy(home: Household, folder: Path) -> None:
    a_big_file(folder / "big")
    home.fault("ssh-drop", "--value", "bytes:20000000")
    done = home.types("--sim", "cp", str(folder / "big"), f":{folder.name}/")
    assert done.code == 0, done.stderr
    assert "going on where it stopped" in done.stderr
    there = home.workspace / folder.name / "big"
    assert there.read_bytes() == (folder / "big").read_bytes()


def test_what_cannot_travel_is_named_and_the_rest_travels(home: Household, folder: Path) -> None:
    source = folder / "tree"
    source.mkdir()
    (source / "good").write_text("x")
    (source / "out").symlink_to("/etc/hostname")
    (source / "up").symlink_to("../../secret")
    os.mkfifo(source / "pipe")
    done = home.simulates("cp", str(source), f":{folder.name}")
    assert done.data["files"] == 1
    assert [line.split()[0] for line in done.data["skipped"]] == ["out", "pipe", "up"]
    assert done.stderr.count("skipped:") == 3
    assert [path.name for path in (home.workspace / folder.name).iterdir()] == ["good"]


def test_file_and_folder_never_replace_each_other(home: Household, folder: Path) -> None:
    (folder / "file").write_text("precious")
    (folder / "dir/file").mkdir(parents=True)
    assert home.simulates("cp", str(folder / "file"), f":{folder.name}/x").code == 0
    for argv in (
        [str(folder / "dir"), f":{folder.name}/x"],
        [str(folder / "file"), f":{folder.name}/x/"],
        [f":{folder.name}/x", str(folder / "dir/file/../..") + "/dir/file/x/"],
    ):
        (folder / "dir/file/x").mkdir(exist_ok=True)
        (folder / "dir/file/x/x").mkdir(exist_ok=True)
        done = home.simulates("cp", *argv)
        assert (done.code, done.error["code"]) == (2, "usage"), argv
    assert (home.workspace / folder.name / "x").read_text() == "precious"


@pytest.mark.parametrize(
    ("argv", "code"),
    [
        (("nothing-here", ":"), 3),
        ((":nothing-there", "."), 3),
        (("flux:a", "flux:b"), 2),
        (("a", "b"), 2),
        (("flux:a", "other:b", "."), 2),
        (("only",), 2),
        (("a", "nobody:b"), 3),
    ],
)
def test_what_cannot_be_copied_is_refused(
    home: Household, argv: tuple[str, ...], code: int
) -> None:
    assert home.simulates("cp", *argv).code == code


def test_a_full_disk_there_loses_nothing_and_is_named(home: Household, folder: Path) -> None:
    (folder / "file").write_text("x" * 100)
    home.fault("disk-full")
    done = home.simulates("cp", str(folder / "file"), f":{folder.name}/")
    assert home.simulates("sim", "fault", "--clear").code == 0
    assert (done.code, done.error["code"]) == (1, "transfer")
    assert "No space left" in done.error["message"]
    assert not (home.workspace / folder.name / "file").exists()


# sync


def test_a_second_sync_sends_nothing(home: Household, folder: Path) -> None:
    source = a_tree(folder / "tree")
    (source / ".git").mkdir()
    (source / ".git/config").write_text("not this")
    (source / "inner/__pycache__").mkdir()
    target = f":{folder.name}"
    first = home.simulates("sync", str(source), target, "--exclude", "zero")
    assert first.envelope["changed"] is True
    second = home.simulates("sync", str(source), target, "--exclude", "zero")
    assert (second.data["send"], second.envelope["changed"]) == ([], False)
    there = home.workspace / folder.name
    assert not (there / ".git").exists()
    assert not (there / "zero").exists()
    assert (there / "inner/deep/run").stat().st_mode & 0o777 == 0o755


def test_only_what_changed_travels(home: Household, folder: Path) -> None:
    source, target = a_tree(folder / "tree"), f":{folder.name}"
    assert home.simulates("sync", str(source), target).code == 0
    (source / "plain").write_text("other")
    (source / "new").write_text("new")
    planned = home.simulates("--dry-run", "sync", str(source), target).data
    assert planned["send"] == ["new", "plain"]
    assert not (home.workspace / folder.name / "new").exists()
    assert home.simulates("sync", str(source), target).data["send"] == ["new", "plain"]
    assert tree(home.workspace / folder.name) == tree(source)


def test_a_checksum_finds_what_size_and_time_hide(home: Household, folder: Path) -> None:
    source, target = folder / "tree", f":{folder.name}"
    source.mkdir()
    (source / "file").write_text("one")
    os.utime(source / "file", (1_000_000_000, 1_000_000_000))
    assert home.simulates("sync", str(source), target).code == 0
    (source / "file").write_text("two")
    os.utime(source / "file", (1_000_000_000, 1_000_000_000))
    assert home.simulates("sync", str(source), target).data["send"] == []
    assert home.simulates("sync", str(source), target, "--checksum").data["send"] == ["file"]
    assert (home.workspace / folder.name / "file").read_text() == "two"


@pytest.mark.parametrize("direction", ["up", "down"])
def test_deleting_asks_first_and_spares_what_is_left_out(
    home: Household, folder: Path, direction: str
) -> None:
    here, there = folder / "here", home.workspace / folder.name
    for place in (here, there):
        place.mkdir()
        (place / "both").write_text("x")
        os.utime(place / "both", (1_000_000_000, 1_000_000_000))
        (place / "both").chmod(0o644)
    receiving = there if direction == "up" else here
    (receiving / "old/deep").mkdir(parents=True)
    (receiving / "old/deep/file").write_text("x")
    (receiving / ".venv").mkdir()
    argv = ["sync", str(here), f":{folder.name}", *(["--down"] if direction == "down" else [])]
    assert home.simulates(*argv).data["delete"] == []
    refused = home.simulates(*argv, "--delete")
    assert (refused.code, refused.error["hint"]) == (2, "say it with --yes")
    assert (receiving / "old/deep/file").exists()
    done = home.simulates(*argv, "--delete", "--yes")
    assert done.data["delete"] == ["old/deep/file", "old/deep", "old"]
    assert sorted(path.name for path in receiving.iterdir()) == [".venv", "both"]


def test_sync_down_brings_a_folder_home(home: Household, folder: Path) -> None:
    source = a_tree(home.workspace / folder.name)
    for expected in (True, False):
        done = home.simulates("sync", str(folder / "here"), f":{folder.name}", "--down")
        assert done.envelope["changed"] is expected
    assert tree(folder / "here") == tree(source)


def test_a_sync_that_makes_no_sense_is_refused(home: Household, folder: Path) -> None:
    (folder / "file").touch()
    assert home.simulates("sync", str(folder / "file")).code == 2
    assert home.simulates("sync", str(folder / "none")).code == 3
    assert home.simulates("sync", str(folder), "plain/path").code == 2
    assert home.simulates("sync", str(folder / "none"), ":none", "--down").code == 3


# upload and df


def test_the_scripts_are_sent_once(home: Household) -> None:
    first, second = home.simulates("upload"), home.simulates("upload")
    assert (first.envelope["changed"], second.envelope["changed"]) == (True, False)
    assert (Path(second.data["path"]) / "run.py").is_file()
    assert home.simulates("upload", "--workload", "nonsense").code == 2


def test_df_names_the_biggest_folders_and_how_full_the_disk_is(
    home: Household, folder: Path
) -> None:
    place = home.workspace / folder.name
    place.mkdir()
    (place / "big").write_bytes(os.urandom(3 << 20))
    data = home.simulates("df", "flux").data
    assert data["disks"][0]["total_bytes"] > data["disks"][0]["free_bytes"] > 0
    assert 0 <= data["disks"][0]["percent"] <= 100
    assert any(one["path"].endswith(folder.name) for one in data["folders"])
    assert data["workspace_bytes"] >= 3 << 20
