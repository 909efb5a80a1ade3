"""`run.py service` hands the process to the workload's own server."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.remote_scripts.worker.machine import Worker

ECHO = """
from worker import ports


def main(argv):
    print(argv, ports.host(), ports.port(9090), ports.port(8188))
    return 7
"""


def serve(worker: Worker, *argv: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-B", str(worker.scripts / "run.py"), "service", *argv],
        capture_output=True,
        text=True,
        env={**worker.env, **env},
        timeout=30,
    )


def test_a_service_gets_its_arguments_and_its_exit_code_counts(worker: Worker) -> None:
    (worker.scripts / "toy/service.py").write_text(ECHO)
    done = serve(worker, "toy", "--model", "tiny")
    assert done.stdout == "['--model', 'tiny'] 127.0.0.1 9090 8188\n"
    assert done.returncode == 7


def test_a_simulated_pod_says_which_port_stands_for_which(worker: Worker) -> None:
    (worker.scripts / "toy/service.py").write_text(ECHO)
    done = serve(worker, "toy", GPUCTL_SIM_PORTS="909:1,9090:24511,90:2")
    assert done.stdout == "[] 127.0.0.1 24511 8188\n"


@pytest.mark.parametrize("argv", [(), ("flux",), ("worker",), ("../toy",)])
def test_a_workload_without_one_is_a_mistake_that_names_those_with(
    worker: Worker, argv: tuple[str, ...]
) -> None:
    (worker.scripts / "toy/service.py").write_text(ECHO)
    done = serve(worker, *argv)
    assert done.returncode == 2
    assert "usage: run.py service {toy}" in done.stderr
