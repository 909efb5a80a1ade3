"""Help topics and shell completion."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Annotated

import typer

from gpuctl import config, resources
from gpuctl.config_files import defaults
from gpuctl.context import Context
from gpuctl.errors import EXIT_CODES, UsageError

JSON_TOPIC = """\
With --json, anywhere on the command line, stdout is exactly one document:

  {"schema": "gpuctl/1", "ok": true, "command": "flux",
   "data": {…}, "error": null, "changed": true}

On failure ok is false, data is null and error is
  {"code": "not_found", "message": "…", "hint": "…", "details": {…}}
and the exit code is the one of `gpuctl help exit-codes`. Commands that look at many things (doctor,
setup, resources, …) keep their data when some of it is bad: ok is false then and error is null.

`changed` tells whether the command changed anything outside this computer.
Streams (`jobs attach`) print one JSON object a line and end with the envelope.
Readers ignore fields they do not know; `schema` changes when one is renamed or removed.
Progress, hints and warnings stay on stderr; -q silences them.
"""


def topic(
    ctx: typer.Context,
    name: Annotated[
        str | None, typer.Argument(metavar="[exit-codes|environment|json|COMMAND]")
    ] = None,
) -> None:
    """Explain exit codes, environment variables or the JSON output.

    \b
    gpuctl help exit-codes
    """
    context: Context = ctx.obj
    topics: dict[str, Callable[[], str]] = {
        "exit-codes": _exit_codes,
        "environment": _environment,
        "json": lambda: JSON_TOPIC,
    }
    if name is None or name not in topics:
        raise UsageError(
            f"there is no help topic '{name}'",
            hint=f"topics: {', '.join(topics)}; for a command: gpuctl COMMAND --help",
        )
    text = topics[name]()
    context.console.result({"topic": name, "text": text}, text)


def _exit_codes() -> str:
    rows = "".join(f"  {code:>3}  {meaning}\n" for code, meaning in EXIT_CODES.items())
    return f"{rows}\n`gpuctl exec` and `gpuctl ssh` pass the remote command's code through.\n"


def _environment() -> str:
    sections = defaults(resources.bundled("config_defaults.yaml"), None)
    others: dict[str, list[str]] = {}
    for name, key in config.OTHER_NAMES.items():
        others.setdefault(key, []).append(name)
    lines = []
    for section, rows in sections.items():
        if section in config.OPEN_TABLES:
            continue
        for key in rows:
            dotted = f"{section}.{key}"
            also = ", ".join(others.get(dotted, []))
            lines.append(
                f"  {config.environment_name(dotted)}" + (f"   (also {also})" if also else "")
            )
    return (
        "Every key of the configuration has a variable:\n\n"
        + "\n".join(lines)
        + "\n  STEPS_<PRESET>   steps of a preset, for example STEPS_QUALITY=60\n\n"
        "Others:\n"
        "  GPUCTL_SIM=1     the same as --sim\n"
        "  NO_COLOR, FORCE_COLOR, TERM=dumb   colours\n"
        "  XDG_CONFIG_HOME, XDG_STATE_HOME, XDG_CACHE_HOME   where gpuctl keeps its files\n\n"
        "Variables win over .env and config.env in the current folder, those over gpuctl.yaml,\n"
        "that over the user's config.yaml (`gpuctl config path`).\n"
    )


def completion(
    shell: Annotated[str, typer.Argument(metavar="bash|zsh|fish", help="Which shell.")],
) -> None:
    """Print the completion script of a shell. It touches no network.

    \b
    gpuctl completion bash >> ~/.bash_completion
    gpuctl completion zsh > ~/.zfunc/_gpuctl
    gpuctl completion fish > ~/.config/fish/completions/gpuctl.fish
    """
    if shell not in ("bash", "zsh", "fish"):
        raise UsageError(f"'{shell}' is not a shell I know", hint="bash, zsh or fish")
    environ = {**os.environ, "_GPUCTL_COMPLETE": f"source_{shell}"}
    os.execve(sys.executable, [sys.executable, "-m", "gpuctl"], environ)
