"""The timer that calls `gpuctl reap`: for cron, systemd or launchd, put in and read back."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from gpuctl.errors import GpuctlError, MissingDependency, UsageError

LIMIT_S = 20.0
KINDS = ("systemd", "cron", "launchd")
# What a timer's bare environment lacks and the reaper needs. Never a secret: these are files.
_PASSED_ON = ("XDG_STATE_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME")


@dataclass(frozen=True, slots=True)
class Timer:
    """What shall be called, where and how often. `name` tells the simulator's timer from ours."""

    name: str
    argv: tuple[str, ...]
    folder: Path
    every_s: float
    environ: Mapping[str, str]
    home: Path

    @property
    def minutes(self) -> int:
        return max(1, min(59, round(self.every_s / 60)))

    @property
    def command(self) -> str:
        """One line for a shell."""
        passed = [f"{key}={shlex.quote(value)}" for key, value in self.environ.items()]
        return " ".join(["cd", shlex.quote(str(self.folder)), "&&", *passed, shlex.join(self.argv)])


def timer(
    *, is_sim: bool, folder: Path, every_s: float, environ: Mapping[str, str], home: Path
) -> Timer:
    sim = ("--sim",) if is_sim else ()
    argv = (sys.executable, "-m", "gpuctl", *sim, "-q", "--no-input", "reap", "--by-timer")
    passed = {name: environ[name] for name in _PASSED_ON if environ.get(name)}
    name = "gpuctl-reap-sim" if is_sim else "gpuctl-reap"
    return Timer(name, argv, folder, every_s, passed, home)


def kind_here() -> str:
    """What this computer has. Raises MissingDependency when it has none of them."""
    if sys.platform == "darwin":
        return "launchd"
    if shutil.which("systemctl") and _run(["systemctl", "--user", "show-environment"]) is not None:
        return "systemd"
    if shutil.which("crontab"):
        return "cron"
    raise MissingDependency(
        "this computer has neither a systemd of the user nor cron",
        hint="call `gpuctl reap` every few minutes by other means",
    )


def lines(timer: Timer, kind: str) -> str:
    """What `install` would put in, for people who put it in themselves."""
    if kind == "cron":
        return _cron_line(timer)
    if kind == "launchd":
        return f"{_plist_path(timer)}:\n{_plist(timer)}"
    files = _units(timer)
    return "\n".join(f"{path}:\n{text}" for path, text in files.items())


def install(timer: Timer, kind: str) -> None:
    """Puts it in for this user and reads it back. Raises GpuctlError when it is not there then."""
    _DOERS[_checked(kind)][0](timer)
    if installed(timer) != kind:
        raise GpuctlError(f"the {kind} timer was put in, but is not there", hint=lines(timer, kind))


def uninstall(timer: Timer) -> str | None:
    """Takes it out. The kind that was there; None when there was none."""
    kind = installed(timer)
    if kind is not None:
        _DOERS[kind][1](timer)
        if installed(timer) == kind:
            raise GpuctlError(f"the {kind} timer {timer.name} is still there")
    return kind


def installed(timer: Timer) -> str | None:
    """Which kind is in force now, as the system itself tells."""
    return next((kind for kind in KINDS if _DOERS[kind][2](timer)), None)


def _checked(kind: str) -> str:
    if kind not in KINDS:
        raise UsageError(f"there is no timer '{kind}'", hint=f"one of {', '.join(KINDS)}")
    return kind


# cron


def _cron_line(timer: Timer) -> str:
    # In a crontab a bare % ends the command.
    command = timer.command.replace("%", r"\%")
    return f"*/{timer.minutes} * * * * {command} >/dev/null 2>&1  # {timer.name}"


def _crontab(timer: Timer) -> tuple[list[str], list[str]]:
    """The lines of others, and ours."""
    if not shutil.which("crontab"):
        return [], []
    found = (_run(["crontab", "-l"]) or "").splitlines()
    ours = [line for line in found if line.endswith(f"# {timer.name}")]
    return [line for line in found if line not in ours], ours


def _install_cron(timer: Timer) -> None:
    others, _ = _crontab(timer)
    _must(["crontab", "-"], "\n".join([*others, _cron_line(timer), ""]))


def _uninstall_cron(timer: Timer) -> None:
    others, _ = _crontab(timer)
    _must(["crontab", "-"], "".join(f"{line}\n" for line in others))


def _is_in_cron(timer: Timer) -> bool:
    return bool(_crontab(timer)[1])


# systemd


def _units(timer: Timer) -> dict[Path, str]:
    folder = timer.home / ".config" / "systemd" / "user"
    environment = "".join(f"Environment={_unit_quoted(f'{k}={v}')}\n" for k, v in _pairs(timer))
    service = (
        "[Unit]\nDescription=Ends rented GPUs that are past their deadline\n\n[Service]\n"
        f"Type=oneshot\nWorkingDirectory={timer.folder}\n{environment}"
        f"ExecStart={' '.join(map(_unit_quoted, timer.argv))}\n"
    )
    clock = (
        f"[Unit]\nDescription=Calls {timer.name}\n\n[Timer]\nOnActiveSec=1min\n"
        f"OnUnitActiveSec={timer.minutes}min\n\n[Install]\nWantedBy=timers.target\n"
    )
    return {folder / f"{timer.name}.service": service, folder / f"{timer.name}.timer": clock}


def _pairs(timer: Timer) -> Sequence[tuple[str, str]]:
    return tuple(timer.environ.items())


def _unit_quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{escaped}"'


def _install_systemd(timer: Timer) -> None:
    for path, text in _units(timer).items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    _must(["systemctl", "--user", "daemon-reload"])
    _must(["systemctl", "--user", "enable", "--now", f"{timer.name}.timer"])


def _uninstall_systemd(timer: Timer) -> None:
    _must(["systemctl", "--user", "disable", "--now", f"{timer.name}.timer"])
    for path in _units(timer):
        path.unlink(missing_ok=True)
    _run(["systemctl", "--user", "daemon-reload"])


def _is_in_systemd(timer: Timer) -> bool:
    if not all(path.exists() for path in _units(timer)) or not shutil.which("systemctl"):
        return False
    said = _run(["systemctl", "--user", "is-active", f"{timer.name}.timer"])
    return said is not None and said.strip() == "active"


# launchd


def _plist_path(timer: Timer) -> Path:
    return timer.home / "Library" / "LaunchAgents" / f"{timer.name}.plist"


def _plist(timer: Timer) -> str:
    arguments = "".join(f"<string>{escape(word)}</string>" for word in timer.argv)
    environment = "".join(
        f"<key>{escape(key)}</key><string>{escape(value)}</string>" for key, value in _pairs(timer)
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<plist version="1.0"><dict>\n'
        f"<key>Label</key><string>{timer.name}</string>\n"
        f"<key>ProgramArguments</key><array>{arguments}</array>\n"
        f"<key>WorkingDirectory</key><string>{escape(str(timer.folder))}</string>\n"
        f"<key>EnvironmentVariables</key><dict>{environment}</dict>\n"
        f"<key>StartInterval</key><integer>{timer.minutes * 60}</integer>\n"
        "<key>RunAtLoad</key><true/>\n</dict></plist>\n"
    )


def _install_launchd(timer: Timer) -> None:
    path = _plist_path(timer)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(_plist(timer), encoding="utf-8")
    _run(["launchctl", "unload", str(path)])
    _must(["launchctl", "load", "-w", str(path)])


def _uninstall_launchd(timer: Timer) -> None:
    path = _plist_path(timer)
    _must(["launchctl", "unload", "-w", str(path)])
    path.unlink(missing_ok=True)


def _is_in_launchd(timer: Timer) -> bool:
    if not _plist_path(timer).exists() or not shutil.which("launchctl"):
        return False
    return _run(["launchctl", "list", timer.name]) is not None


_Doers = tuple[Callable[[Timer], None], Callable[[Timer], None], Callable[[Timer], bool]]
_DOERS: dict[str, _Doers] = {
    "systemd": (_install_systemd, _uninstall_systemd, _is_in_systemd),
    "cron": (_install_cron, _uninstall_cron, _is_in_cron),
    "launchd": (_install_launchd, _uninstall_launchd, _is_in_launchd),
}


def _run(argv: Sequence[str], stdin: str = "") -> str | None:
    """What it printed; None when it failed or is not there."""
    try:
        done = subprocess.run(
            argv, input=stdin, capture_output=True, text=True, timeout=LIMIT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def _must(argv: Sequence[str], stdin: str = "") -> None:
    if _run(argv, stdin) is None:
        raise GpuctlError(f"`{shlex.join(argv)}` failed", hint="gpuctl reap --print shows the line")
