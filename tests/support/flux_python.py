"""The Python with torch and diffusers that `flux` tests run in, and the tiny model they run."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
SETTING = "GPUCTL_TEST_FLUX_PYTHON"
_BUILD_LIMIT_S = 110


@dataclass(frozen=True)
class TinyFlux:
    """Folders and files on disk: a whole pipeline, and a LoRA for its transformer."""

    model: Path
    lora: Path


def environment(home: Path) -> dict[str, str]:
    """Nothing inherited but the search path; the hub is never asked."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "HF_HOME": str(home / "huggingface"),
        "HF_HUB_OFFLINE": "1",
        "PYTHONPATH": str(REPOSITORY / "remote_scripts"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }


@pytest.fixture(scope="session")
def flux_python() -> Path:
    """The interpreter; without it a test is skipped, or fails where `flux` is required."""
    python = Path(os.environ.get(SETTING) or REPOSITORY / ".venv-flux/bin/python")
    if python.exists():
        return python
    reason = f"no Python with torch and diffusers at {python}: set {SETTING}"
    if "flux" in os.environ.get("GPUCTL_TEST_REQUIRE", ""):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def tiny_flux_model(flux_python: Path, tmp_path_factory: pytest.TempPathFactory) -> TinyFlux:
    """A FluxPipeline of tiny random weights and a LoRA for it, built once (about 8 s)."""
    folder = tmp_path_factory.mktemp("tiny-flux")
    tiny = TinyFlux(folder / "model", folder / "lora.safetensors")
    script = REPOSITORY / "tests/support/tiny_flux.py"
    built = subprocess.run(
        [flux_python, script, tiny.model, tiny.lora],
        env=environment(folder),
        capture_output=True,
        text=True,
        timeout=_BUILD_LIMIT_S,
        check=False,
    )
    if built.returncode:
        pytest.fail(f"the tiny model was not built:\n{built.stderr[-3000:]}")
    return tiny
