"""The venv that a workload gets on first use, from local packages only."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from tests.remote_scripts.worker.machine import Worker, events, kill, until

PACKAGE = "little_package"


def require(worker: Worker, requirements: str, extra: str = "") -> None:
    """Gives the toy a requirements file."""
    (worker.scripts / "toy/requirements.txt").write_text(requirements)
    handler = worker.scripts / "toy/handler.py"
    lines = ['REQUIREMENTS = "requirements.txt"', extra]
    handler.write_text(handler.read_text() + "\n".join(["", *lines, ""]))


def use_package(worker: Worker) -> None:
    handler = worker.scripts / "toy/handler.py"
    added = f"""
def package(given):
    import {PACKAGE}
    return {{"said": {PACKAGE}.WORD, "prefix": sys.prefix}}

ACTS["package"] = package
"""
    handler.write_text(handler.read_text() + added)


def wheel(folder: Path, name: str = PACKAGE, version: str = "1.0") -> Path:
    """The smallest installable package."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}.py", "WORD = 'hello'\n")
        meta = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        archive.writestr(f"{info}/METADATA", meta)
        tags = "Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        archive.writestr(f"{info}/WHEEL", tags)
        archive.writestr(f"{info}/RECORD", "")
    return path


def stages(found: list[dict[str, object]]) -> set[object]:
    return {event["stage"] for event in found if event["event"] == "loading"}


def venvs(worker: Worker) -> list[Path]:
    return list((worker.workspace / ".gpuctl/venvs").iterdir())


def test_the_first_job_makes_a_venv_with_its_packages_and_the_next_one_finds_it(
    worker: Worker, tmp_path: Path
) -> None:
    wheel(tmp_path / "wheels")
    require(worker, f"--no-index\n--find-links {tmp_path / 'wheels'}\n{PACKAGE}\n")
    use_package(worker)
    found = worker.run("J1", do="package")
    (venv,) = venvs(worker)
    assert found[-1]["metrics"]["said"] == "hello"
    assert found[-1]["metrics"]["prefix"] == str(venv)
    assert stages(found) == {"venv", "packages", "engine"}
    assert venv.name.startswith("toy-")
    assert (venv / ".ready").exists()
    worker.ask("stop")
    assert stages(worker.run("J2", do="package")) == {"engine"}


def test_an_empty_requirements_file_is_enough_for_a_venv(worker: Worker) -> None:
    require(worker, "")
    assert worker.run("J1")[-1]["event"] == "done"


def test_a_package_that_cannot_be_had_fails_by_name_with_pips_last_lines(worker: Worker) -> None:
    require(worker, "--no-index\nno-such-package-anywhere==9\n")
    final = worker.run("J1")[-1]
    assert final["code"] == "bootstrap_failed"
    assert "no-such-package-anywhere" in final["message"]
    assert final["remedy"]
    (venv,) = venvs(worker)
    assert not (venv / ".ready").exists()


def test_a_set_up_that_failed_is_taken_up_again_by_the_next_job(
    worker: Worker, tmp_path: Path
) -> None:
    require(worker, f"--no-index\n--find-links {tmp_path / 'wheels'}\n{PACKAGE}\n")
    use_package(worker)
    assert worker.run("J1", do="package")[-1]["code"] == "bootstrap_failed"
    wheel(tmp_path / "wheels")
    assert worker.run("J2", do="package")[-1]["metrics"]["said"] == "hello"
    assert len(venvs(worker)) == 1


def test_a_torch_that_is_there_is_never_replaced(worker: Worker, tmp_path: Path) -> None:
    site = tmp_path / "site"
    (site / "torch-2.8.0+cu128.dist-info").mkdir(parents=True)
    meta = "Metadata-Version: 2.1\nName: torch\nVersion: 2.8.0+cu128\n"
    (site / "torch-2.8.0+cu128.dist-info/METADATA").write_text(meta)
    wheel(tmp_path / "wheels", "torch", "2.99")
    worker.env["PYTHONPATH"] = str(site)
    require(worker, f"--no-index\n--find-links {tmp_path / 'wheels'}\ntorch>=2.6\n")
    assert worker.run("J1")[-1]["event"] == "done"
    (venv,) = venvs(worker)
    assert (venv / "kept.txt").read_text() == "torch==2.8.0+cu128\n"
    assert list(venv.glob("lib/*/site-packages/torch*")) == []


def test_a_cancel_ends_a_set_up_that_takes_too_long(worker: Worker, tmp_path: Path) -> None:
    package = tmp_path / "slow"
    package.mkdir()
    (package / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "slow"\nbackend-path = ["."]\n'
    )
    started = tmp_path / "started"
    (package / "slow.py").write_text(
        f"import pathlib, threading\npathlib.Path({str(started)!r}).touch()\n"
        "threading.Event().wait()\n"
    )
    require(worker, f"--no-index\n{package}\n")
    follower = worker.submit("J1")
    until(started.exists, "pip has begun to build")
    assert worker.ask("cancel", "J1") == {"cancelled": True}
    assert events(follower)[-1]["code"] == "cancelled"


@pytest.mark.parametrize("way", ["the simulator's engine", "the handler's word", "--python"])
def test_no_venv_is_made_where_none_is_needed(worker: Worker, way: str) -> None:
    extra = "def needs_venv(given): return False" if way == "the handler's word" else ""
    require(worker, "--no-index\nno-such-package-anywhere\n", extra)
    if way == "the simulator's engine":
        worker.env["GPUCTL_ENGINE"] = "sim"
    python = ["--python", "/usr/bin/python3"] if way == "--python" else []
    assert worker.run("J1", *python)[-1]["event"] == "done"
    assert not (worker.workspace / ".gpuctl/venvs").exists()


def test_a_daemon_that_dies_during_the_set_up_queues_the_job_again(
    worker: Worker, tmp_path: Path
) -> None:
    wheel(tmp_path / "wheels")
    gate = tmp_path / "gate"
    require(
        worker,
        f"--no-index\n--find-links {tmp_path / 'wheels'}\n{PACKAGE}\n",
        f"import pathlib\nwhile not pathlib.Path({str(gate)!r}).exists(): time.sleep(0.01)",
    )
    follower = worker.submit("J1")
    worker.until_stored("J1", "accepted")
    pid = worker.status()["daemon_pid"]
    gate.touch()
    worker.until_stored("J1", "loading", stage="venv")
    kill(pid)
    assert events(follower)[-1]["event"] == "done"
    assert worker.runs() == ["J1"]


def test_a_workload_may_bring_its_own_set_up_which_names_the_python(worker: Worker) -> None:
    require(worker, "", 'SETUP = "setup.sh"')
    script = worker.scripts / "toy/setup.sh"
    script.write_text('echo "making it in $GPUCTL_WORKSPACE" >&2\necho python=/usr/bin/python3\n')
    found = worker.run("J1")
    said = [event["message"] for event in found if event.get("stage") == "setup"]
    assert said == [f"making it in {worker.workspace}"]
    assert worker.status()["engine_python"] == "/usr/bin/python3"
    script.write_text("echo 'no network' >&2\nexit 1\n")
    final = worker.run("J2")[-1]
    assert (final["code"], "no network" in final["message"]) == ("bootstrap_failed", True)
    script.write_text("true\n")
    assert "named no Python" in worker.run("J3")[-1]["message"]
