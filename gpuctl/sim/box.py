"""A pod's folder on this computer: its home, its workspace, its programs, its environment."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gpuctl.sim import catalog

SHELL = "/bin/bash" if Path("/bin/bash").exists() else "/bin/sh"
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
DISK_FULL = "GPUCTL_SIM_DISK_FULL"
# Uploads end in `cat > file`; every other writer is told by the environment.
CAT_ON_A_FULL_DISK = """if [ -f /dev/fd/1 ]; then
  echo 'cat: write error: No space left on device' >&2
  exit 1
fi
exec /bin/cat "$@"
"""
# Nothing else of the operator's environment reaches a pod: it may hold their keys.
PASSED_ON = ("LANG", "LC_ALL", "PYTHONDONTWRITEBYTECODE", "SSL_CERT_FILE", "TZ")


@dataclass(frozen=True, slots=True)
class Box:
    """Where one pod lives. `volume` is the folder of its network volume, if it has one."""

    folder: Path
    volume: Path | None = None

    @property
    def home(self) -> Path:
        return self.folder / "root"

    @property
    def workspace(self) -> Path:
        return self.folder / "workspace"

    @property
    def programs(self) -> Path:
        return self.folder / "bin"

    @property
    def full_programs(self) -> Path:
        """Put first on the PATH while the disk plays full."""
        return self.folder / "bin-disk-full"

    def make(self, gpu_id: str | None, gpu_count: int) -> None:
        for folder in (self.folder, self.home, self.programs, self.folder / "tmp"):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._make_workspace()
        (self.home / ".bashrc").write_text("PS1='root@pod:\\w# '\n", encoding="utf-8")
        program(self.programs / "nvidia-smi", nvidia_smi(gpu_id, gpu_count))
        if not _is_on_path("python3"):
            program(self.programs / "python3", f'exec {shlex.quote(sys.executable)} "$@"\n')
        self.full_programs.mkdir(exist_ok=True)
        program(self.full_programs / "cat", CAT_ON_A_FULL_DISK)

    def wipe(self, *, keep_workspace: bool) -> None:
        """The container disk is lost at a stop; a mounted workspace stays."""
        for folder in (self.home, self.folder / "tmp"):
            shutil.rmtree(folder, ignore_errors=True)
        if not keep_workspace and not self.workspace.is_symlink():
            shutil.rmtree(self.workspace, ignore_errors=True)

    def environment(self, own: Mapping[str, str], *, disk_is_full: bool) -> dict[str, str]:
        """What a command in the pod sees; `own` (the pod's env) wins but for HOME and PATH."""
        full = {DISK_FULL: "1"} if disk_is_full else {}
        programs = [self.full_programs, self.programs] if disk_is_full else [self.programs]
        passed = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        return {
            **passed,
            "USER": "root",
            "LOGNAME": "root",
            "SHELL": SHELL,
            "TMPDIR": str(self.folder / "tmp"),
            "GPUCTL_WORKSPACE": str(self.workspace),
            "GPUCTL_ENGINE": "sim",
            **own,
            **full,
            "HOME": str(self.home),
            "PATH": os.pathsep.join(
                [*map(str, programs), str(Path(sys.executable).parent), SYSTEM_PATH]
            ),
        }

    def _make_workspace(self) -> None:
        if self.volume is None:
            self.workspace.mkdir(exist_ok=True, mode=0o700)
        elif not self.workspace.is_symlink():
            self.workspace.symlink_to(self.volume, target_is_directory=True)


def nvidia_smi(gpu_id: str | None, gpu_count: int) -> str:
    """The script behind `nvidia-smi` for a card of the catalogue."""
    gpu = catalog.GPU_BY_ID.get(gpu_id or "")
    if gpu is None or gpu_count == 0:
        return "echo 'No devices were found'\nexit 6\n"
    return card(gpu.id, gpu.memory_gb * 1024, gpu_count)


def card(gpu_name: str, memory_mib: int, gpu_count: int, compute_cap: str = "8.9") -> str:
    """Answers -L and `--query-gpu=… --format=csv,noheader,nounits` for these cards."""
    numbers = " ".join(str(index) for index in range(gpu_count))
    name = shlex.quote(gpu_name)
    return f"""uuid() {{ printf 'GPU-00000000-0000-4000-8000-%012d' "$1"; }}
value() {{
  case "$1" in
    index) printf '%s' "$2" ;;
    name|gpu_name) printf '%s' {name} ;;
    uuid|gpu_uuid) uuid "$2" ;;
    memory.total) printf '{memory_mib}' ;;
    memory.free) printf '{memory_mib - 512}' ;;
    memory.used) printf '512' ;;
    utilization.gpu|utilization.memory) printf '0' ;;
    driver_version) printf '570.86.15' ;;
    temperature.gpu) printf '35' ;;
    compute_cap) printf '{compute_cap}' ;;
    *) printf '[N/A]' ;;
  esac
}}
fields=
for argument in "$@"; do
  case "$argument" in
    -L)
      for i in {numbers}; do printf 'GPU %s: %s (UUID: ' "$i" {name}; uuid "$i"; echo ')'; done
      exit 0 ;;
    --query-gpu=*) fields=${{argument#--query-gpu=}} ;;
  esac
done
[ -n "$fields" ] || fields=index,name,memory.total
for i in {numbers}; do
  line=
  for field in $(printf '%s' "$fields" | tr ',' ' '); do line="$line, $(value "$field" "$i")"; done
  printf '%s\\n' "${{line#, }}"
done
"""


def program(path: Path, script: str) -> None:
    """A shell script on the PATH of the machine."""
    path.write_text(f"#!/bin/sh\n{script}", encoding="utf-8")
    path.chmod(0o755)


def _is_on_path(name: str) -> bool:
    """Whether `name` beside the interpreter is that same interpreter."""
    beside = Path(sys.executable).with_name(name)
    return beside.exists() and beside.resolve() == Path(sys.executable).resolve()
