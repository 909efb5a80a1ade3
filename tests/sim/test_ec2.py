"""The simulated EC2's own promises: its names for images, and what it says when it cannot start."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from gpuctl.errors import MissingDependency
from gpuctl.sim import ec2_docker, ec2_faults, ec2_launcher
from gpuctl.sim.kinds import FAULT_KINDS


def test_without_moto_the_remedy_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingDependency) as caught:
        ec2_launcher.ensure(tmp_path / "sim", {})
    assert "gpuctl[sim]" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("image", "parts"),
    [
        ("me/whisper", ("me/whisper", "latest", "")),
        ("me/whisper:1", ("me/whisper", "1", "")),
        ("127.0.0.1:5000/me/whisper", ("127.0.0.1:5000/me/whisper", "latest", "")),
        ("127.0.0.1:5000/me/whisper:1", ("127.0.0.1:5000/me/whisper", "1", "")),
        ("me/whisper@sha256:ab", ("me/whisper", "latest", "sha256:ab")),
    ],
)
def test_a_colon_of_a_port_is_none_of_a_tag(image: str, parts: tuple[str, str, str]) -> None:
    assert ec2_docker._named(image) == parts


def test_a_fault_strikes_as_often_as_it_was_asked_for_and_only_where_it_applies(
    tmp_path: Path,
) -> None:
    ec2_faults.add(tmp_path, "ec2-no-capacity", "g5", 2)
    assert ec2_faults.take(tmp_path, "ec2-no-capacity", "g4dn.xlarge us-east-1") is None
    assert ec2_faults.take(tmp_path, "ec2-no-capacity", "g5.xlarge us-east-1") == "g5"
    assert ec2_faults.take(tmp_path, "ec2-no-capacity", "g5.xlarge us-east-1a") == "g5"
    assert ec2_faults.take(tmp_path, "ec2-no-capacity", "g5.xlarge us-east-1b") is None
    ec2_faults.add(tmp_path, "ec2-quota", "0")
    assert [ec2_faults.take(tmp_path, "ec2-quota") for _ in range(3)] == ["0", "0", "0"]
    ec2_faults.clear(tmp_path)
    assert ec2_faults.take(tmp_path, "ec2-quota") is None


def test_every_fault_of_ec2_can_be_ordered_by_name() -> None:
    source = Path(ec2_docker.__file__).parent
    asked = (source / "ec2_moto.py").read_text() + (source / "ec2_server.py").read_text()
    kinds = [kind for kind in FAULT_KINDS if kind.startswith(ec2_faults.PREFIX)]
    assert kinds
    assert [kind for kind in kinds if f'"{kind}"' not in asked] == []
