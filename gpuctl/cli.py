"""Assembles the commands, and is the one place where errors become text and exit codes."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from importlib import import_module
from typing import Any

import typer

from gpuctl import __version__, help_text
from gpuctl.console import Console, Options
from gpuctl.context import Context
from gpuctl.errors import GpuctlError, Interrupted, PassedThrough, UsageError

# Command → module and the function, or the Typer group `app`. The order is that of the help.
COMMANDS: dict[str, tuple[str, str]] = {
    "flux": ("gpuctl.commands.flux", "flux"),
    "sd": ("gpuctl.commands.sd", "app"),
    "tts": ("gpuctl.commands.tts", "tts"),
    "voices": ("gpuctl.commands.voices", "app"),
    "transcribe": ("gpuctl.commands.transcribe", "transcribe"),
    "video": ("gpuctl.commands.video", "video"),
    "replay": ("gpuctl.commands.jobs", "replay"),
    "enhance": ("gpuctl.commands.prompts", "enhance"),
    "tokens": ("gpuctl.commands.prompts", "tokens"),
    "jobs": ("gpuctl.commands.jobs", "app"),
    "deploy": ("gpuctl.commands.machines", "deploy"),
    "status": ("gpuctl.commands.status", "status"),
    "start": ("gpuctl.commands.machines", "start"),
    "restart": ("gpuctl.commands.restart", "restart"),
    "stop": ("gpuctl.commands.ends", "stop"),
    "terminate": ("gpuctl.commands.ends", "terminate"),
    "gpus": ("gpuctl.commands.catalog", "gpus"),
    "datacenters": ("gpuctl.commands.catalog", "datacenters"),
    "endpoint": ("gpuctl.commands.endpoint", "app"),
    "volumes": ("gpuctl.commands.volumes", "app"),
    "build": ("gpuctl.commands.build", "build"),
    "push": ("gpuctl.commands.push", "push"),
    "image": ("gpuctl.commands.image", "app"),
    "ec2": ("gpuctl.commands.ec2", "app"),
    "passport": ("gpuctl.commands.passport", "app"),
    "test": ("gpuctl.commands.test_service", "app"),
    "lease": ("gpuctl.commands.lease", "app"),
    "reap": ("gpuctl.commands.lease", "reap"),
    "resources": ("gpuctl.commands.money", "resources_"),
    "cost": ("gpuctl.commands.money", "cost"),
    "panic": ("gpuctl.commands.money", "panic_"),
    "wait": ("gpuctl.commands.access", "wait"),
    "connect": ("gpuctl.commands.access", "connect"),
    "ssh": ("gpuctl.commands.access", "ssh"),
    "exec": ("gpuctl.commands.access", "exec_"),
    "cp": ("gpuctl.commands.files", "cp"),
    "sync": ("gpuctl.commands.files", "sync"),
    "upload": ("gpuctl.commands.files", "upload"),
    "df": ("gpuctl.commands.files", "df"),
    "tunnel": ("gpuctl.commands.access", "tunnel"),
    "logs": ("gpuctl.commands.logs", "logs"),
    "setup": ("gpuctl.commands.setup", "setup"),
    "doctor": ("gpuctl.commands.doctor", "doctor"),
    "config": ("gpuctl.commands.config", "app"),
    "sim": ("gpuctl.commands.sim", "app"),
    "completion": ("gpuctl.commands.help", "completion"),
    "help": ("gpuctl.commands.help", "topic"),
}

_FLAGS: dict[str, dict[str, Any]] = {
    "--json": {"json": True},
    "-q": {"quiet": True},
    "--quiet": {"quiet": True},
    "-v": {"verbose": True},
    "--verbose": {"verbose": True},
    "--debug": {"debug": True},
    "--no-color": {"color": False},
    "--no-input": {"no_input": True},
    "-y": {"yes": True},
    "--yes": {"yes": True},
    "--dry-run": {"dry_run": True},
    "--sim": {"sim": True},
    "--version": {"version": True},
    "-V": {"version": True},
}
_HELP_FLAGS = ("-h", "--help")


@dataclass(frozen=True, slots=True)
class Invocation:
    """The command line with the global options taken out of it."""

    options: Options
    argv: list[str]


def take_global_options(argv: Sequence[str]) -> Invocation:
    """Global options work anywhere before `--`; what follows `--` is left alone."""
    options = Options()
    rest: list[str] = []
    for position, word in enumerate(argv):
        if word == "--":
            rest += argv[position:]
            break
        if word in _FLAGS:
            options = replace(options, **_FLAGS[word])
        else:
            rest.append(word)
    return Invocation(options, rest)


def build(*names: str, completion: bool = False) -> typer.Typer:
    """The Typer app with the commands `names` (all when none is given)."""
    app = typer.Typer(
        name="gpuctl",
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        add_completion=completion,
        context_settings={"help_option_names": list(_HELP_FLAGS)},
        no_args_is_help=True,
    )
    app.callback()(_root)
    for name in names or COMMANDS:
        module, attribute = COMMANDS[name]
        found = getattr(import_module(module), attribute)
        if isinstance(found, typer.Typer):
            app.add_typer(found, name=name, epilog=help_text.EPILOG, no_args_is_help=True)
        else:
            app.command(name, epilog=help_text.EPILOG)(found)
    return app


def _root() -> None:
    """Rent a GPU, generate, bring the result home, leave nothing billing."""


def main(argv: Sequence[str] | None = None, *, context: Context | None = None) -> int:
    """Runs one command line and returns its exit code. The one error boundary."""
    invocation = take_global_options(sys.argv[1:] if argv is None else argv)
    console = context.console if context else Console(invocation.options)
    if context:
        console.options = invocation.options
    context = context or Context(console)
    console.command = " ".join(invocation.argv[:1])
    context.argv = tuple(invocation.argv)
    try:
        return _run(invocation.argv, context)
    except PassedThrough as ended:
        return ended.exit_code
    except GpuctlError as error:
        _trace_if_asked(console)
        console.failure(error)
        return error.exit_code
    except KeyboardInterrupt:
        stopped = Interrupted("interrupted", hint="gpuctl status shows what is running and billed")
        console.failure(stopped)
        return stopped.exit_code
    except BrokenPipeError:
        # The reader went away (`| head`): not an error, and nothing more can be said to it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:  # noqa: BLE001  the boundary: a crash becomes a report
        _trace_if_asked(console)
        from gpuctl.crash import disk_trouble, report  # noqa: PLC0415  only when something broke

        console.failure(
            disk_trouble(error)
            or report(error, invocation.argv, context.home_state_folder, console.redact)
        )
        return 1
    finally:
        console.close()


def _run(argv: list[str], context: Context) -> int:
    if "_GPUCTL_COMPLETE" in os.environ:
        return _invoke(build(completion=True), [], context)
    if context.console.options.version:
        context.console.result({"version": __version__}, f"gpuctl {__version__}")
        return 0
    if not argv or argv in (["help"], ["-h"], ["--help"]):
        context.console.result({"help": help_text.ROOT}, help_text.ROOT)
        return 0
    if argv[0].startswith("-"):
        raise UsageError(f"there is no option {argv[0]} here", hint="gpuctl --help")
    if argv[0] == "help" and argv[1] in COMMANDS:
        argv = [argv[1], "--help"]
    if argv[0] not in COMMANDS:
        near = get_close_matches(argv[0], COMMANDS, n=1, cutoff=0.5)
        meant = f"did you mean: gpuctl {near[0]}" if near else "gpuctl --help"
        raise UsageError(f"there is no command '{argv[0]}'", hint=meant)
    return _invoke(build(argv[0]), argv, context)


def _invoke(app: typer.Typer, argv: list[str], context: Context) -> int:
    """Typer reports usage errors on stderr by itself; scripts get them in the envelope."""
    captured = io.StringIO()
    quiet = contextlib.redirect_stderr(captured) if context.console.is_json else None
    try:
        with quiet or contextlib.nullcontext():
            app(argv, obj=context, prog_name="gpuctl")
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 1
        if code == 2 and quiet is not None:
            lines = captured.getvalue().strip().splitlines() or ["the command line is wrong"]
            raise UsageError(
                lines[-1].removeprefix("Error: "), hint=f"gpuctl {argv[0]} --help"
            ) from None
        if code == 130:
            raise KeyboardInterrupt from None
        return code
    return 0


def _trace_if_asked(console: Console) -> None:
    if console.options.debug:
        import traceback  # noqa: PLC0415  only with --debug

        console.note(traceback.format_exc())
