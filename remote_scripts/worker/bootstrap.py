"""A workload's Python: the machine's own, or a venv made and filled on first use."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from worker.layout import SCRIPTS, Layout

KEPT = ("torch", "torchvision", "torchaudio")
LAST_LINES = 12
MESSAGE_INTERVAL_S = 0.25
REMEDY = "read the lines above; the next job takes up where this one stopped"
ANSWER = "python="
NO_VENV_REMEDY = "install the system's venv package (Debian: apt-get install python3-venv)"
VERSIONS = (
    "import importlib.metadata as m, sys\n"
    "for name in sys.argv[1:]:\n"
    "    try: print(f'{name}=={m.version(name)}')\n"
    "    except m.PackageNotFoundError: pass\n"
)


class BootstrapFailed(Exception):
    def __init__(self, message: str, remedy: str = REMEDY) -> None:
        super().__init__(message)
        self.remedy = remedy


class Bootstrap:
    """One attempt. `emit(kind, fields)` gets `loading` events; `kill` ends it from outside."""

    def __init__(self, layout: Layout, workload: str, emit: Callable[..., None]) -> None:
        self._layout, self._workload, self._emit = layout, workload, emit
        self._process: subprocess.Popen[str] | None = None
        self._is_killed = False

    def python_for(self, given: dict[str, Any]) -> str:
        """The interpreter for a job with this input, made ready. Raises BootstrapFailed."""
        if script := self._setup_script(given):
            return self._set_up(script)
        requirements = self._requirements(given)
        if not requirements:
            return sys.executable
        digest = hashlib.sha256(requirements.read_bytes()).hexdigest()[:8]
        venv = Path(self._layout.root) / ".gpuctl/venvs" / f"{self._workload}-{digest}"
        python = venv / "bin/python"
        if not (venv / ".ready").exists():
            self._make(venv, python)
            self._install(python, requirements)
            (venv / ".ready").touch()
        return str(python)

    def kill(self) -> None:
        self._is_killed = True
        process = self._process
        if process and process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)

    def _requirements(self, given: dict[str, Any]) -> Path | None:
        return self._file_named("REQUIREMENTS", given)

    def _setup_script(self, given: dict[str, Any]) -> Path | None:
        return self._file_named("SETUP", given)

    def _file_named(self, attribute: str, given: dict[str, Any]) -> Path | None:
        module = self._handler()
        name = getattr(module, attribute, None)
        needs_venv = getattr(module, "needs_venv", _needs_venv)
        if not name or not needs_venv(given):
            return None
        return Path(SCRIPTS) / self._workload / str(name)

    def _set_up(self, script: Path) -> str:
        """Runs a workload's own script; its last line is `python=PATH`."""
        said = self._run("setup", ["bash", str(script)], REMEDY)
        if not said or not said[-1].startswith(ANSWER):
            raise BootstrapFailed("\n".join([f"{script.name} named no Python:", *said]))
        return said[-1].removeprefix(ANSWER)

    def _handler(self) -> ModuleType | None:
        try:
            return import_module(f"{self._workload}.handler")
        except Exception as error:  # noqa: BLE001 -- any import error; the engine reports it in full
            sys.stderr.write(f"handler of {self._workload}: {error!r}\n")
            return None

    def _make(self, venv: Path, python: Path) -> None:
        self._tell("venv", f"making {venv}")
        venv.parent.mkdir(parents=True, exist_ok=True)
        if not python.exists():
            # Without pip it takes 0.1 s instead of 3; the system's pip shows through.
            options = ["--system-site-packages", "--without-pip"]
            self._run("venv", [sys.executable, "-m", "venv", *options, str(venv)], NO_VENV_REMEDY)
        if subprocess.run([python, "-m", "pip", "--version"], capture_output=True).returncode:
            self._run("venv", [str(python), "-m", "ensurepip"], NO_VENV_REMEDY)

    def _install(self, python: Path, requirements: Path) -> None:
        kept = python.parent.parent / "kept.txt"
        kept.write_text(self._kept_versions(python))
        pip = [str(python), "-m", "pip", "install", "--no-input", "--disable-pip-version-check"]
        files = ["-c", str(kept), "-r", str(requirements)]
        self._run("packages", [*pip, "--progress-bar", "off", *files], REMEDY)

    def _kept_versions(self, python: Path) -> str:
        """The image's torch is built for its driver: it stays, whatever the others ask for."""
        found = subprocess.run([python, "-c", VERSIONS, *KEPT], capture_output=True, text=True)
        return found.stdout

    def _run(self, stage: str, argv: list[str], remedy: str) -> list[str]:
        """The last lines that it said."""
        self._stop_when_killed()
        last: deque[str] = deque(maxlen=LAST_LINES)
        told_at = 0.0
        cache = f"{self._layout.root}/.cache/pip"
        self._process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            cwd=f"{SCRIPTS}/{self._workload}",
            env={
                **os.environ,
                "GPUCTL_WORKSPACE": self._layout.root,
                "PIP_CACHE_DIR": cache,
                "PYTHONUNBUFFERED": "1",
            },
            start_new_session=True,
        )
        with self._process as process:
            for line in process.stdout or ():
                last.append(line.rstrip())
                is_answer = line.startswith(ANSWER)
                if not is_answer and time.monotonic() - told_at >= MESSAGE_INTERVAL_S:
                    told_at = time.monotonic()
                    self._tell(stage, line.strip())
        self._stop_when_killed()
        if process.returncode:
            raise BootstrapFailed("\n".join([f"{stage} failed:", *last]), remedy)
        return list(last)

    def _stop_when_killed(self) -> None:
        if self._is_killed:
            raise BootstrapFailed("the set-up was cancelled", "")

    def _tell(self, stage: str, message: str) -> None:
        self._emit("loading", {"stage": stage, "message": message})


def _needs_venv(_given: dict[str, Any]) -> bool:
    return os.environ.get("GPUCTL_ENGINE") != "sim"
