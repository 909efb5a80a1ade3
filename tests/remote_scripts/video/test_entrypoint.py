"""The image's entrypoint, with the stand-in for ComfyUI where ComfyUI would be."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.support.comfyui_films import need_ffmpeg, still
from tests.support.comfyui_server import REMOTE_SCRIPTS
from tests.support.comfyui_service import Service, end_all

pytestmark = pytest.mark.ffmpeg
ENTRYPOINT = REMOTE_SCRIPTS / "video/entrypoint.sh"
# Started as ComfyUI is: with its own arguments, of which the port counts.
MAIN = f"""
import sys
sys.path.insert(0, {str(REMOTE_SCRIPTS)!r})
from video.sim_comfyui import main
assert "127.0.0.1" in sys.argv and "--extra-model-paths-config" in sys.argv
port = sys.argv[sys.argv.index("--port") + 1]
sys.exit(main(["--port", port, "--folder", sys.argv[0] + ".data", "--mode", "new"]))
"""
DYING = "import sys\nprint('no GPU: everything is lost')\nsys.exit(3)\n"


class Container:
    """The entrypoint's process, and what it is told."""

    def __init__(self, root: Path, main: str) -> None:
        self.root, self.workspace = root, root / "w"
        self.workspace.mkdir()
        (root / "ComfyUI").mkdir()
        (root / "ComfyUI/main.py").write_text(main)
        (root / "ComfyUI/extra_model_paths.yaml").write_text("{}")
        self.service = Service(self.workspace)
        with socket.create_server(("127.0.0.1", 0)) as free:
            comfyui_port = free.getsockname()[1]
        self.environment = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(root),
            "GPUCTL_SCRIPTS": str(REMOTE_SCRIPTS),
            "GPUCTL_WORKSPACE": str(self.workspace),
            "GPUCTL_SIM_PORTS": f"8080:{self.service.port}",
            "SERVICE_PORT": str(self.service.port),
            "MODEL_VOLUME": str(self.workspace),
            "COMFYUI_DIR": str(root / "ComfyUI"),
            "SERVER_ADDRESS": f"127.0.0.1:{comfyui_port}",
            "VIDEO_MODELS": "none",
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    def start(self, **more: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["bash", ENTRYPOINT],
            env={**self.environment, **more},
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def check(self) -> int:
        return subprocess.run(
            ["bash", ENTRYPOINT, "check"], env=self.environment, capture_output=True
        ).returncode


@pytest.fixture
def ended() -> Iterator[list[tuple[subprocess.Popen[str], Path]]]:
    """What is put in is ended with the test, with all that it started."""
    need_ffmpeg()
    started: list[tuple[subprocess.Popen[str], Path]] = []
    yield started
    for process, workspace in started:
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert process.stderr is not None
        process.stderr.close()
        end_all(workspace)


def test_it_brings_comfyui_up_and_then_the_service_which_makes_a_film(
    tmp_path: Path, ended: list[tuple[subprocess.Popen[str], Path]]
) -> None:
    container = Container(tmp_path, MAIN)
    still(container.workspace / "inputs/still.png", (64, 64), (9, 9, 9))
    ended.append((container.start(), container.workspace))
    service = container.service

    def answers() -> bool:
        try:
            return bool(service.call("GET", "/health")[0] == 200)
        except OSError:
            return False

    assert container.check() != 0, "not well before it is up"
    service.until(answers)
    assert container.check() == 0
    assert not (container.workspace / "run/video.starting").exists()
    asked = {"image_path": "inputs/still.png", "width": 128, "height": 128, "length": 5}
    service.call("POST", "/generate", {**asked, "id": "E1"})
    events = list(service.events("E1"))
    assert events[-1]["event"] == "done", events[-1]
    assert events[-1]["metrics"]["engine"] == "comfyui 0.38.1", "nothing of it is simulated here"


def test_a_comfyui_that_does_not_come_up_is_told_with_its_own_last_words(
    tmp_path: Path, ended: list[tuple[subprocess.Popen[str], Path]]
) -> None:
    container = Container(tmp_path, DYING)
    process = container.start(COMFYUI_WAIT_S="1")
    ended.append((process, container.workspace))
    assert process.wait(20) == 1
    reason = (container.workspace / "run/video.failed").read_text()
    assert "after 1 s" in reason
    assert "no GPU: everything is lost" in reason


def test_models_that_do_not_come_are_the_reason_of_the_failure(
    tmp_path: Path, ended: list[tuple[subprocess.Popen[str], Path]]
) -> None:
    container = Container(tmp_path, MAIN)
    (container.workspace / "models").write_text("in the way")
    process = container.start(VIDEO_MODELS="wan2.2_i2v_low_noise_14B_fp8_scaled.safetensors")
    ended.append((process, container.workspace))
    assert process.wait(20) == 1
    assert "the models did not come" in (container.workspace / "run/video.failed").read_text()


def test_all_five_folders_of_the_volume_are_shown_to_comfyui() -> None:
    from video.models import VOLUME_FOLDERS

    said = yaml.safe_load((REMOTE_SCRIPTS / "video/extra_model_paths.yaml").read_text())
    (section,) = said.values()
    assert section.pop("base_path") == "/runpod-volume/"
    assert section == {kind: f"{folder}/" for kind, folder in VOLUME_FOLDERS.items()}


def test_the_compose_file_opens_the_service_to_this_computer_alone_and_wants_a_token() -> None:
    said = yaml.safe_load((REMOTE_SCRIPTS / "video/compose.yaml").read_text())
    service = said["services"]["video"]
    assert service["ports"] == ["127.0.0.1:8080:8080"]
    assert service["environment"]["SERVICE_TOKEN"].startswith("${SERVICE_TOKEN:?")
    assert service["build"] == {"context": "..", "dockerfile": "video/Dockerfile"}
    assert (REMOTE_SCRIPTS / service["build"]["dockerfile"]).is_file()
