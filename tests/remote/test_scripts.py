"""The scripts are named by their content, reach the machine whole, and only once."""

from __future__ import annotations

import io
import tarfile
import threading
from pathlib import Path

import pytest

from gpuctl.errors import MissingDependency
from gpuctl.remote import scripts
from gpuctl.remote.base import Completed, Shell
from gpuctl.remote.scripts import Bundle

ECHO = b"import sys, os; print(sys.argv[1:], os.environ['GPUCTL_WORKSPACE'], sys.stdin.read())"
SMALL = Bundle({"run.py": ECHO, "worker/__init__.py": b"", "flux/handler.py": b"# one"})


def a_checkout(root: Path) -> Path:
    for name in ("run.py", "worker/a.py", "flux/handler.py", "tts/handler.py", "notes.md"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    return root


def test_a_bundle_holds_the_worker_and_one_workload_and_no_leftovers(tmp_path: Path) -> None:
    root = a_checkout(tmp_path)
    (root / "worker/__pycache__").mkdir()
    (root / "worker/__pycache__/a.pyc").write_text("old")
    (root / "flux/tests").mkdir()
    (root / "flux/tests/test_a.py").write_text("test")
    names = list(scripts.bundle("flux", root).files)
    assert names == ["flux/handler.py", "run.py", "worker/a.py"]


def test_the_name_follows_the_content_and_nothing_else(tmp_path: Path) -> None:
    first = scripts.bundle("flux", a_checkout(tmp_path / "a"))
    again = scripts.bundle("flux", a_checkout(tmp_path / "b"))
    assert (first.hash, first.archive()) == (again.hash, again.archive())
    (tmp_path / "b/tts/handler.py").write_text("another workload's")
    assert scripts.bundle("flux", tmp_path / "b").hash == first.hash
    (tmp_path / "b/worker/a.py").write_text("changed")
    assert scripts.bundle("flux", tmp_path / "b").hash != first.hash


def test_what_moves_between_two_files_changes_the_name() -> None:
    assert Bundle({"a": b"xy", "b": b""}).hash != Bundle({"a": b"x", "b": b"y"}).hash


def test_the_archive_is_what_the_bundle_says() -> None:
    with tarfile.open(fileobj=io.BytesIO(SMALL.archive()), mode="r:gz") as archive:
        found = {m.name: archive.extractfile(m).read() for m in archive}  # type: ignore[union-attr]
    assert found == SMALL.files


def test_the_scripts_of_this_installation_have_their_entry() -> None:
    files = scripts.bundle("flux").files
    assert {"run.py", "worker/verbs.py", "flux/handler.py"} <= set(files)


def run(shell: Shell, workspace: Path, *args: str, stdin: bytes = b"") -> Completed:
    argv = scripts.remote_command(
        "flux", "submit", list(args), workspace=str(workspace), hash=SMALL.hash
    )
    return shell.run(argv, stdin=stdin)


def test_a_command_says_that_its_scripts_are_missing_and_runs_once_they_are_there(
    shell: Shell, tmp_path: Path
) -> None:
    workspace = tmp_path / "it's a workspace"
    missing = run(shell, workspace)
    assert scripts.is_missing(missing.exit_code, missing.stderr)
    scripts.ship(shell, SMALL, workspace=str(workspace))
    done = run(shell, workspace, "a b", "$(id)", stdin=b"{}")
    assert done.exit_code == 0
    assert done.stdout == f"['submit', 'flux', 'a b', '$(id)'] {workspace} {{}}\n"


def test_two_that_ship_at_once_leave_one_whole_bundle(shell: Shell, tmp_path: Path) -> None:
    threads = [
        threading.Thread(
            target=scripts.ship, args=[shell, SMALL], kwargs={"workspace": str(tmp_path)}
        )
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    folder = tmp_path / ".gpuctl/scripts"
    assert [path.name for path in folder.iterdir()] == [SMALL.hash]
    found = {str(p.relative_to(folder / SMALL.hash)) for p in folder.rglob("*") if p.is_file()}
    assert found == set(SMALL.files)


def test_a_bundle_that_arrives_cut_is_not_put_in_place(shell: Shell, tmp_path: Path) -> None:
    class Cut(Bundle):
        def archive(self) -> bytes:
            return super().archive()[:-20]

    with pytest.raises(scripts.TransferFailed, match="could not be put on the machine"):
        scripts.ship(shell, Cut(SMALL.files), workspace=str(tmp_path))
    assert list((tmp_path / ".gpuctl/scripts").iterdir()) == []


def test_a_machine_without_python_is_told_what_to_install(tmp_path: Path) -> None:
    from gpuctl.remote.local import LocalShell

    bare = tmp_path / "bin"
    bare.mkdir()
    for name in ("sh", "mkdir", "tar", "rm"):
        (bare / name).symlink_to(f"/bin/{name}")

    class Bare(LocalShell):
        def start(self, argv: list[str]) -> object:  # type: ignore[override]
            return super().start(["env", f"PATH={bare}", *argv])

    with pytest.raises(MissingDependency, match="there is no python3 on the machine"):
        scripts.ship(Bare(), SMALL, workspace=str(tmp_path))
