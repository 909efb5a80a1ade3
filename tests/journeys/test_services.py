"""A workload that is a server, reached as its clients reach it: by its own port, wherever it is."""

from __future__ import annotations

import urllib.request
from pathlib import Path

from gpuctl.sim import launcher
from tests.journeys.conftest import Person, until
from tests.support.household import ended, read_until
from tests.support.simulator import FAST
from tests.support.toy_service import scripts_with_service


def test_a_deployed_service_answers_through_a_tunnel_at_its_own_port(
    person: Person, tmp_path: Path
) -> None:
    scripts = scripts_with_service(tmp_path / "remote_scripts", "flux")
    launcher.ensure(person.sim_folder, settings={**FAST, "scripts": str(scripts)})
    machine = person.simulates("deploy", "flux").data["machine"]
    until(
        lambda: "toy listens" in person.simulates("logs", "--source", "container").stdout,
        "the service's first line in the log",
    )
    process = person.start("--sim", "tunnel", "0:9090")
    try:
        url = read_until(process, "http").strip()
        with urllib.request.urlopen(url, timeout=10) as answer:
            assert answer.read().decode() == f"{machine['id']} sim service flux"
    finally:
        ended(process)
