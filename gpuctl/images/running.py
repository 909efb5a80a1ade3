"""Runs a container engine's program: its lines as they come, its end when we end."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gpuctl.errors import MissingDependency
from gpuctl.models import Secret

LAST_LINES = 40
END_LIMIT_S = 10.0
QUESTION_LIMIT_S = 20.0


@dataclass(frozen=True, slots=True)
class Command:
    """What is executed: `env` is added to our own environment; `secret` goes to stdin."""

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    secret: Secret | None = None

    def __str__(self) -> str:
        """As one would type it."""
        return " ".join([*(f"{k}={shlex.quote(v)}" for k, v in self.env.items()), self.words])

    @property
    def words(self) -> str:
        return shlex.join(self.argv)

    def with_env(self, extra: Mapping[str, str]) -> Command:
        return Command(self.argv, {**self.env, **extra}, self.secret)


@dataclass(frozen=True, slots=True)
class Ended:
    """Exit code and the last lines of both outputs."""

    code: int
    lines: tuple[str, ...]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)


def run(command: Command, on_line: Callable[[str], None], *, folder: Path | None = None) -> Ended:
    """Waits for the end. On Ctrl-C, or any error here, the program and its children end first.

    It gets a session of its own: the terminal's Ctrl-C reaches us alone, and we pass it on.
    Raises MissingDependency when it cannot be started.
    """
    last: deque[str] = deque(maxlen=LAST_LINES)
    process = _started(command, folder)
    try:
        _hand_over(process, command.secret)
        assert process.stdout is not None
        for raw in process.stdout:
            line = raw.decode("utf-8", "replace").rstrip()
            if line.strip():
                last.append(line)
                on_line(line)
        return Ended(process.wait(), tuple(last))
    except BaseException:
        _end(process)
        raise
    finally:
        if process.stdout is not None:
            process.stdout.close()


def asked(command: Command) -> Ended:
    """A short question to the engine. Code 124 when it does not answer in time."""
    try:
        done = subprocess.run(
            command.argv,
            env={**os.environ, **command.env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=QUESTION_LIMIT_S,
        )
    except subprocess.TimeoutExpired:
        return Ended(124, (f"no answer within {QUESTION_LIMIT_S:g} s",))
    except OSError as error:
        return Ended(127, (str(error),))
    text = done.stdout.decode("utf-8", "replace")
    return Ended(done.returncode, tuple(line for line in text.splitlines() if line.strip()))


def _started(command: Command, folder: Path | None) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            command.argv,
            env={**os.environ, **command.env},
            cwd=folder,
            stdin=subprocess.PIPE if command.secret else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        raise MissingDependency(
            f"{command.argv[0]} cannot be started: {error.strerror or error}",
            hint="install Docker, or: apt install buildah",
        ) from error


def _hand_over(process: subprocess.Popen[bytes], secret: Secret | None) -> None:
    if secret is None or process.stdin is None:
        return
    try:
        process.stdin.write(secret.reveal().encode())
        process.stdin.close()
    except BrokenPipeError:  # it ended before it read; its own words say why
        return


def _end(process: subprocess.Popen[bytes]) -> None:
    """As Ctrl-C would; what is still there after ten seconds is killed."""
    for number in (signal.SIGINT, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        try:
            process.wait(END_LIMIT_S)
        except subprocess.TimeoutExpired:
            continue
        return
