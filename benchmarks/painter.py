"""Both ways of making one picture on the same sshd: gpuctl, and the older pair of commands."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measure import command, private_environment
from benchmarks.server import Server

_ROOT = Path(__file__).resolve().parent.parent
_TOY = Path(__file__).resolve().parent / "toy"
PROMPT = "a lighthouse at dusk, heavy sea, seen from a small boat"
PICTURE_BYTES = 2_000_000


@dataclass(frozen=True)
class Painter:
    """A copy of this program with the toy in the place of its flux worker."""

    folder: Path
    server: Server
    env: dict[str, str]

    def gpuctl(self, *words: str) -> list[str]:
        launcher = "import sys; from gpuctl.__main__ import main; sys.exit(main())"
        return [sys.executable, "-c", launcher, *words]

    def picture(self, server: Server, *words: str) -> Callable[[], None]:
        """`gpuctl flux` over a connection of its own."""
        return command(self.flux(server, *words), cwd=self.folder, env=self.env)

    def flux(self, server: Server, *words: str) -> list[str]:
        where = f"{server.target}:{server.port}"
        return self.gpuctl("flux", PROMPT, "--on", where, "--no-enhance", "--no-open", *words)

    def stamps(self) -> list[float]:
        """When each step of the last picture ended, on `time.monotonic()`."""
        moments: list[float] = json.loads((self.folder / "stamps").read_text())
        return moments

    def older(self, server: Server) -> Callable[[], None]:
        """`ssh HOST python generate.py` and then `scp`."""
        remote = self.folder / "remote.png"
        paint = command(server.ssh(server.target, self.generate(remote)))
        here = str(self.folder / "home.png")
        fetch = command(server.scp(f"{server.target}:{remote}", here))

        def both() -> None:
            paint()
            fetch()

        return both

    def generate(self, remote: Path) -> str:
        """The older way's command line on the machine."""
        return f"python3 {_TOY}/generate.py {self.folder / 'toy.json'} '{PROMPT}' {remote}"


@contextlib.contextmanager
def painter(
    folder: Path, server: Server, *, inference_s: float, load_s: float = 0.0, steps: int = 4
) -> Iterator[Painter]:
    """The resident worker is ended afterwards."""
    folder.mkdir()
    toy = folder / "toy.json"
    picture = folder / "picture.png"
    picture.write_bytes(_noise_png(PICTURE_BYTES))
    model = {"inference_s": inference_s, "load_s": load_s, "steps": steps}
    files = {"picture": str(picture), "stamps": str(folder / "stamps")}
    toy.write_text(json.dumps(model | files))
    _copy_program(folder)
    workspace = folder / "workspace"
    env = private_environment(folder) | {
        "GPUCTL_SSH__KEY": str(server.keys.id),
        "GPUCTL_REMOTE__WORKSPACE": str(workspace),
        "PYTHONPATH": str(folder),
    }
    try:
        yield Painter(folder, server, env)
    finally:
        for script in workspace.glob(".gpuctl/scripts/*/run.py"):
            stop = ["python3", "-B", str(script), "stop", "flux"]
            subprocess.run(
                stop, env={**os.environ, "GPUCTL_WORKSPACE": str(workspace)}, capture_output=True
            )


def _copy_program(folder: Path) -> None:
    ignored = shutil.ignore_patterns("__pycache__", ".mypy_cache")
    shutil.copytree(_ROOT / "gpuctl", folder / "gpuctl", ignore=ignored)
    shutil.copytree(
        _ROOT / "remote_scripts" / "worker", folder / "remote_scripts" / "worker", ignore=ignored
    )
    shutil.copytree(_ROOT / "prompts", folder / "prompts")
    for name in ("config_defaults.yaml", "remote_scripts/run.py"):
        shutil.copy(_ROOT / name, folder / name)
    flux = folder / "remote_scripts" / "flux"
    flux.mkdir()
    (flux / "__init__.py").write_text("")
    shutil.copy(_TOY / "handler.py", flux)
    shutil.copy(folder / "toy.json", flux)


def _noise_png(size_bytes: int) -> bytes:
    """A picture that nothing can compress, as photographs nearly are."""
    import io

    from PIL import Image

    width, height = 1000, size_bytes // 3000
    buffer = io.BytesIO()
    noise = Image.frombytes("RGB", (width, height), os.urandom(width * height * 3))
    noise.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
