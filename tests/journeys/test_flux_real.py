"""The whole path with real parts: command, OpenSSH sshd, daemon, diffusers, a PNG at home."""

from __future__ import annotations

import getpass
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from tests.journeys.conftest import Person
from tests.support.flux_python import TinyFlux
from tests.support.flux_python import flux_python as flux_python
from tests.support.flux_python import tiny_flux_model as tiny_flux_model
from tests.support.sshd import Sshd, make_keys, require_sshd

pytestmark = [pytest.mark.sshd, pytest.mark.flux, pytest.mark.timeout(300)]


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Sshd]:
    require_sshd()
    folder = tmp_path / "sshd"
    folder.mkdir()
    running = Sshd(make_keys(folder))
    yield running
    running.close()


@pytest.fixture
def target(
    person: Person, daemon: Sshd, flux_python: Path, tiny_flux_model: TinyFlux, tmp_path: Path
) -> Iterator[str]:
    """What --on gets; the tiny model is a row of the project's gpuctl.yaml."""
    (person.folder / "gpuctl.yaml").write_text(
        "models:\n"
        f"  tiny: {{repo: {tiny_flux_model.model}, pipeline: FluxPipeline,\n"
        "         img2img: FluxImg2ImgPipeline, clip_tokens: 77, text_tokens: 512, steps: 4}\n"
        f"ssh:\n  key: {tmp_path}/sshd/id\n"
        f"remote:\n  workspace: {tmp_path}/ws\n  python: {flux_python}\n"
        "flux:\n  default_model: tiny\n  engine: cpu\n  default_size: 128x96\n"
    )
    address = daemon.address
    on = f"{getpass.getuser()}@{address.host}:{address.port}"
    yield on
    _end_worker(tmp_path / "ws")


def test_a_real_pipeline_paints_over_a_real_sshd_and_stays_loaded(
    person: Person, target: str, tmp_path: Path
) -> None:
    prompt = "a red fox; $(touch owned) 'in' \"snow\" 🦊\nsecond line"
    argv = ("--json", "flux", prompt, "--seed", "7", "--on", target)
    data = person.types(*argv, limit_s=200).data
    with Image.open(data["file"]) as picture:
        assert picture.size == (128, 96)
        assert len(picture.convert("RGB").getcolors(1 << 20) or []) > 100
    assert data["engine"] == "cpu"
    assert data["timings"]["load_s"] > 0
    receipt = data["receipt"]
    assert receipt["prompts"]["text_encoder"] == prompt
    assert receipt["prompts"]["text_encoder_tokens"] > 5
    assert receipt["versions"]["diffusers"]
    assert not list(tmp_path.rglob("owned"))

    again = person.types(*argv, limit_s=100).data
    assert again["timings"]["load_s"] == 0, "the second picture loads nothing"
    assert _pixels(again["file"]) == _pixels(data["file"])
    other = person.types(*argv[:-1], target, "--seed", "8", limit_s=100)
    assert _pixels(other.data["file"]) != _pixels(data["file"])


def test_a_lora_and_a_first_picture_travel_to_a_real_pipeline(
    person: Person, target: str, tiny_flux_model: TinyFlux
) -> None:
    argv = ("--json", "flux", "a fox", "--seed", "7", "--on", target)
    plain = person.types(*argv, limit_s=200).data
    styled = person.types(*argv, "--lora", f"{tiny_flux_model.lora}:0.9", limit_s=100).data
    assert _pixels(styled["file"]) != _pixels(plain["file"])
    started = person.types(*argv, "--init", plain["file"], "--strength", "0.5", limit_s=100).data
    assert _pixels(started["file"]) != _pixels(plain["file"])
    sidecar = json.loads(Path(f"{styled['file']}.json").read_text())
    assert sidecar["loras"][0]["weight"] == 0.9


def test_a_model_that_is_not_there_is_named(person: Person, target: str) -> None:
    config = person.folder / "gpuctl.yaml"
    text = config.read_text()
    config.write_text(text.replace("repo: /", "repo: /nowhere/"))
    done = person.types("--json", "flux", "a fox", "--on", target, limit_s=200)
    assert done.code == 1
    assert done.error["details"]["worker_code"] == "model_missing"
    assert "/nowhere/" in done.error["message"]
    assert done.error["hint"]


def _pixels(file: str) -> bytes:
    with Image.open(file) as picture:
        return picture.convert("RGB").tobytes()


def _end_worker(workspace: Path) -> None:
    """The resident worker outlives its connection by design; here it ends with the test."""
    import subprocess
    import sys

    for run in workspace.glob(".gpuctl/scripts/*/run.py"):
        subprocess.run(
            [sys.executable, "-B", run, "stop", "flux"],
            env={"GPUCTL_WORKSPACE": str(workspace), "PATH": "/usr/bin:/bin"},
            capture_output=True,
            timeout=60,
            check=False,
        )
