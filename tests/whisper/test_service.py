"""The service around the server: what it is told, what it tells, how it ends."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from gpuctl.errors import ConnectionFailed, NotFound, TimedOut, ValidationFailed
from gpuctl.models import Json
from gpuctl.services import whisper_checks
from gpuctl.services.waiting import SystemClock
from tests.support.clock import JumpingClock
from tests.support.recorder import Recorder
from tests.support.whisper_service import REPOSITORY, Service, free_port, running, until

SCRIPTS = REPOSITORY / "remote_scripts"
CLOCK = SystemClock()


def _ended(folder: Path, *argv: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """A service that cannot last."""
    return subprocess.run(
        [sys.executable, "-B", str(SCRIPTS / "run.py"), "service", "whisper", *argv],
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "GPUCTL_WORKSPACE": str(folder),
            "GPUCTL_ENGINE": "sim",
            "GPUCTL_SIM_PORTS": f"9090:{free_port()},9999:{free_port()}",
            **environ,
        },
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.mark.parametrize(
    "environ",
    [
        {"WHISPER_COMPUTE_TYPE": "float17"},
        {"MAX_CLIENTS": "0"},
        {"MAX_CONNECTION_TIME": "ten"},
        {"WHISPER_PORT": "-1"},
    ],
    ids=lambda environ: next(iter(environ)),
)
def test_a_variable_that_cannot_be_meant_is_named(tmp_path: Path, environ: dict[str, str]) -> None:
    done = _ended(tmp_path, **environ)
    assert done.returncode == 2
    assert next(iter(environ)) in json.loads(done.stdout.splitlines()[-1])["message"]


def test_a_taken_port_ends_it_loudly(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        mapping = f"9090:{port},9999:{free_port()}"
        done = _ended(tmp_path, GPUCTL_SIM_PORTS=mapping)
    assert done.returncode == 1
    last = json.loads(done.stdout.splitlines()[-1])
    assert last["level"] == "error"
    assert "in use" in last["message"]


def test_health_is_told_while_the_model_loads_and_ready_is_not(tmp_path: Path) -> None:
    ports = [free_port(), free_port(), free_port()]
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "GPUCTL_WORKSPACE": str(tmp_path),
        "GPUCTL_ENGINE": "sim",
        "GPUCTL_SIM_LOAD_S": "60",
        "GPUCTL_SIM_PORTS": f"9090:{ports[0]},9999:{ports[1]}",
    }
    argv = [sys.executable, "-B", str(SCRIPTS / "run.py"), "service", "whisper"]
    process = subprocess.Popen(argv, env=environ, stdout=subprocess.DEVNULL)
    service = Service(process, ports[0], ports[1], ports[2], tmp_path / "log")
    try:
        until(lambda: whisper_checks.health(service.get, CLOCK).is_ok, "its health")
        ready = whisper_checks.ready(service.get, CLOCK)
        assert not ready.is_ok
        assert ready.detail == "503 loading the model"
        assert service.get("/nothing")[0] == 404
    finally:
        process.terminate()
        assert process.wait(10) == 0, "being asked to end is no failure"


def test_status_tells_model_clients_and_configuration(simulated: Service) -> None:
    told = whisper_checks.status(simulated.get, CLOCK).body
    assert told["model"] == "small"
    assert told["max_clients"] == 9
    assert told["configuration"]["host"] == "127.0.0.1"
    assert told["configuration"]["engine"] == "sim"
    with simulated.dial():
        until(lambda: simulated.get("/status")[1]["clients"] == 1, "the client")


def test_without_a_token_only_loopback_is_listened_on(tmp_path: Path) -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from whisper.configuration import from_environment as f\n"
        "print(f({}).host, f({'WHISPER_TOKEN': 'x'}).host)"
    )
    done = subprocess.run(
        [sys.executable, "-B", "-c", code, SCRIPTS], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["127.0.0.1", "0.0.0.0"]


def test_the_sample_is_heard_word_for_word_by_the_stand_in(simulated: Service) -> None:
    sample = whisper_checks.sample()
    assert sample.file.stat().st_size < 200_000
    spoken = whisper_checks.transcription(simulated.dial, sample, CLOCK, Recorder())
    assert spoken.is_ok
    assert spoken.word_error == 0
    assert spoken.as_json()["simulated"] is True
    whisper_checks.refuse([], spoken)


def test_a_service_that_failed_is_not_waited_for() -> None:
    def get(path: str) -> tuple[int, Json]:
        failed = {"status": "failed", "error": "no such model"}
        return 503, failed if path == "/health" else {"ready": False}

    with pytest.raises(ValidationFailed, match="no such model"):
        whisper_checks.until_ready(get, JumpingClock(), limit_s=60, report=Recorder())


def test_a_service_that_is_not_there_is_given_up_early() -> None:
    def get(path: str) -> tuple[int, Json]:
        raise ConnectionFailed(f"{path}: nobody")

    clock = JumpingClock(0.0)
    with pytest.raises(NotFound, match="nobody"):
        whisper_checks.until_ready(get, clock, limit_s=1800, report=Recorder())
    assert clock.now() < 80


def test_a_service_that_goes_on_loading_is_waited_for_to_the_limit() -> None:
    def get(path: str) -> tuple[int, Json]:
        loading = {"detail": "downloading the model", "ready": False}
        return (200, {"status": "ok"}) if path == "/health" else (503, loading)

    clock = JumpingClock(0.0)
    with pytest.raises(TimedOut):
        whisper_checks.until_ready(get, clock, limit_s=1800, report=Recorder())
    assert clock.now() >= 1800


def test_what_is_heard_wrong_is_refused_with_both_texts(simulated: Service) -> None:
    sample = whisper_checks.sample()
    other = whisper_checks.Sample(sample.file, sample.text, simulated="quite other words")
    spoken = whisper_checks.transcription(simulated.dial, other, CLOCK, Recorder())
    with pytest.raises(ValidationFailed, match="quite other words"):
        whisper_checks.refuse([], spoken)


def _fake_programs(folder: Path) -> None:
    folder.mkdir()
    for name, script in {
        "nvidia-smi": "echo 'GPU 0: Tesla \"T4\" (UUID: GPU-1)'",
        "python3": f'exec {sys.executable} "$@"',
    }.items():
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)


def test_the_images_entrypoint_says_only_json_and_becomes_the_service(tmp_path: Path) -> None:
    _fake_programs(tmp_path / "bin")
    ports = [free_port(), free_port()]
    log = tmp_path / "log"
    with log.open("w") as lines:
        process = subprocess.Popen(
            [SCRIPTS / "whisper/entrypoint.sh"],
            env={
                "PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin",
                "HOME": str(tmp_path),
                "GPUCTL_WORKSPACE": str(tmp_path / "workspace"),
                "GPUCTL_ENGINE": "sim",
                "GPUCTL_SIM_PORTS": f"9090:{ports[0]},9999:{ports[1]}",
            },
            stdout=lines,
            stderr=lines,
        )
    service = Service(process, ports[0], ports[1], 0, log)
    try:
        until(lambda: whisper_checks.ready(service.get, CLOCK).is_ok, "the service")
    finally:
        process.terminate()
        assert process.wait(10) == 0
    said = [json.loads(line) for line in service.said().splitlines()]
    assert 'Tesla "T4"' in said[0]["message"]
    assert any("the model small is kept in" in line["message"] for line in said)
    assert said[-1]["message"].startswith("asked to end")


def test_running_leaves_nothing_behind(tmp_path: Path) -> None:
    with running(tmp_path) as service:
        connection = service.dial()
    assert service.process.poll() == 0, "an open connection does not keep it"
    connection.close()
