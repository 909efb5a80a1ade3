"""Checks of this computer: Python, configuration, secrets on disk, state, space, leftovers."""

from __future__ import annotations

import platform
import shutil
import stat
import sys
import tempfile
from collections.abc import Sequence
from contextlib import closing
from difflib import get_close_matches
from pathlib import Path

from gpuctl.config import environment_name
from gpuctl.services import git_ignore
from gpuctl.services.doctor import Bench, Check
from gpuctl.services.findings import Finding, fail, ok, skipped, warn
from gpuctl.sim import processes

OLDEST_PYTHON = (3, 11)
SECRET_FILES = (".env", "config.env")
LOW_DISK_BYTES = 2 * 10**9
NO_DISK_BYTES = 200 * 10**6
# Read from the environment by gpuctl itself, its simulator and its tests.
VARIABLES = ("GPUCTL_SIM", "GPUCTL_WORKSPACE", "GPUCTL_RUNPOD_OPENAPI")
PREFIXES = ("GPUCTL_SIM_", "GPUCTL_TEST_")


def python(_: Bench) -> Sequence[Finding]:
    version = platform.python_version()
    if sys.version_info < OLDEST_PYTHON:
        return [fail("python", f"{version} is too old", "install Python 3.11 or newer")]
    return [ok("python", f"{version} ({sys.executable})")]


def configuration(bench: Bench) -> Sequence[Finding]:
    error = bench.config_error
    if error is not None:
        return [fail("config", error.message, error.hint)]
    origins = {value.origin.rpartition(":")[0] for _, value in bench.settings.items()}
    files = sorted(Path(origin).name for origin in origins if origin)
    return [ok("config", f"loads ({', '.join(files) or 'defaults alone'})")]


def secret_files(bench: Bench) -> Sequence[Finding]:
    """`.env` and `config.env`: closed to others, and nothing git would carry away."""
    found = []
    for name in SECRET_FILES:
        path = bench.folder / name
        if path.is_file():
            found += [_closed(bench, path, name), _ignored(bench, name)]
    return found or [skipped("env-file", "there is no .env here (gpuctl setup writes it)")]


def variables(bench: Bench) -> Sequence[Finding]:
    """Names that begin like ours and mean nothing."""
    known = {environment_name(key) for key, _ in bench.settings.items()} | set(VARIABLES)
    strange = [
        name
        for name in sorted(bench.environ)
        if name.startswith("GPUCTL_") and name not in known and not name.startswith(PREFIXES)
    ]
    found = []
    for name in strange:
        near = get_close_matches(name, known, n=1, cutoff=0.6)
        meant = f"; did you mean {near[0]}?" if near else ""
        found.append(warn("environment", f"{name} means nothing{meant}", f"unset {name}"))
    return found or [ok("environment", "every GPUCTL_ name is known")]


def state(bench: Bench) -> Sequence[Finding]:
    import sqlite3  # noqa: PLC0415  10 ms: not for `--help`

    folder = bench.state.path.parent
    usable = _writable(bench, folder)
    if usable.status == "fail" or not bench.state.path.exists():
        return [usable]
    uri = f"{bench.state.path.resolve().as_uri()}?mode=ro"
    try:
        with closing(sqlite3.connect(uri, uri=True, timeout=5)) as connection:
            answer = str(connection.execute("PRAGMA quick_check(1)").fetchone()[0])
    except sqlite3.Error as error:
        answer = str(error)
    if answer != "ok":
        remedy = f"mv {bench.state.path} {bench.state.path}.bad   # then: gpuctl status"
        return [usable, fail("state-db", f"{bench.state.path} is damaged: {answer}", remedy)]
    return [usable, _journal(bench)]


def disk(bench: Bench) -> Sequence[Finding]:
    places = {
        "results": bench.settings.path("flux.output_dir"),
        "state": bench.state.path.parent,
        "temporary files": Path(tempfile.gettempdir()),
    }
    free = {name: shutil.disk_usage(_existing(path)).free for name, path in places.items()}
    name, least = min(free.items(), key=lambda item: item[1])
    said = f"{least / 10**9:.1f} GB free for {name}"
    if least < NO_DISK_BYTES:
        return [fail("disk", said, f"make room in {places[name]}")]
    if least < LOW_DISK_BYTES:
        return [warn("disk", said, f"make room in {places[name]}")]
    return [ok("disk", said)]


def simulators(_: Bench) -> Sequence[Finding]:
    """Processes of a simulator whose folder is gone: nothing will ever end them."""
    folders = {pid: folder for pid, folder in _simulator_processes() if not folder.is_dir()}
    if not folders:
        return [ok("simulator", "no stray processes")]
    pids = " ".join(map(str, sorted(folders)))
    return [warn("simulator", f"{len(folders)} processes of a deleted folder", f"kill {pids}")]


CHECKS = (
    Check("python", python, 5.0),
    Check("config", configuration, 5.0),
    Check("env-file", secret_files),
    Check("environment", variables, 5.0),
    Check("state", state),
    Check("disk", disk, 5.0),
    Check("simulator", simulators),
)


def _closed(bench: Bench, path: Path, name: str) -> Finding:
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077 == 0:
        return ok(name, f"{mode:04o}, yours alone")
    if not bench.fixes:
        return warn(name, f"{mode:04o}: others may read your keys", f"chmod 600 {path}")
    path.chmod(0o600)
    return Finding(name, "ok", "yours alone", None, f"chmod 600 {path} (was {mode:04o})")


def _ignored(bench: Bench, name: str) -> Finding:
    title = f"{name} in git"
    told = git_ignore.state(bench.folder, name)
    if told == "tracked":
        return fail(
            title,
            "git tracks it: the keys are in its history",
            f"git rm --cached {name}, then make new keys: the old ones are known",
        )
    if told == "exposed" and bench.fixes:
        path = git_ignore.ignore(bench.folder, name)
        return Finding(title, "ok", "ignored", None, f"added to {path}")
    if told == "exposed":
        return warn(title, "the next `git add .` takes it along", f"echo /{name} >> .gitignore")
    if told == "unknown":
        return skipped(title, "git does not answer")
    return ok(title, "ignored" if told == "ignored" else "no repository here")


def _writable(bench: Bench, folder: Path) -> Finding:
    if not folder.is_dir():
        if bench.fixes:
            folder.mkdir(parents=True, mode=0o700)
            return Finding("state", "ok", str(folder), None, f"made {folder}")
        parent = _existing(folder)
        if not parent.is_dir():
            return fail("state", f"{parent} is not a folder", "set XDG_STATE_HOME to a folder")
        folder = parent
    try:
        with tempfile.TemporaryFile(dir=folder):
            return ok("state", f"{bench.state.path.parent} can be written")
    except OSError as error:
        return fail(
            "state",
            f"{folder} cannot be written: {error.strerror}",
            f"chmod u+w {folder}   # or set XDG_STATE_HOME to another folder",
        )


def _journal(bench: Bench) -> Finding:
    unresolved = bench.state.unresolved()
    if not unresolved:
        return ok("state-db", "sound; every intent is resolved")
    names = ", ".join(intent.name for intent in unresolved[:3])
    return warn(
        "state-db",
        f"{len(unresolved)} billed calls of unknown outcome: {names}",
        "gpuctl status   # looks each of them up",
    )


def _existing(path: Path) -> Path:
    """The path or its nearest parent that is there."""
    path = path.expanduser().absolute()
    return next(one for one in (path, *path.parents) if one.exists())


def _simulator_processes() -> list[tuple[int, Path]]:
    proc = Path("/proc")
    found = []
    marker = f"{processes.SERVER_MARKER}=".encode()
    for entry in proc.iterdir() if proc.is_dir() else ():
        try:
            environ = (entry / "environ").read_bytes() if entry.name.isdigit() else b""
        except OSError:  # it ended, or it is another user's
            continue
        for part in environ.split(b"\0"):
            if part.startswith(marker):
                found.append((int(entry.name), Path(part[len(marker) :].decode(errors="replace"))))
    return found
