"""Shows and changes configuration."""

from __future__ import annotations

import getpass
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from gpuctl import config as layers
from gpuctl.commands.render import table
from gpuctl.config_files import set_in_yaml
from gpuctl.context import Context
from gpuctl.errors import UsageError
from gpuctl.services import settings_files

app = typer.Typer(help="Show, get and set configuration, each value with its origin.")

KeyArgument = Annotated[str, typer.Argument(metavar="KEY", help="For example flux.guidance.")]


@app.command()
def show(
    ctx: typer.Context,
    section: Annotated[str | None, typer.Argument(metavar="[SECTION]")] = None,
) -> None:
    """Print every value and where it comes from. Secrets are hidden.

    \b
    gpuctl config show flux
    """
    context: Context = ctx.obj
    rows = [
        {"key": key, "value": _shown(key, found.value), "origin": found.origin}
        for key, found in context.settings.items()
        if section is None or key.startswith(f"{section}.")
    ]
    if not rows:
        raise layers.unknown_key(str(section), dict(context.settings.items()), "no such section")
    text = table(("key", "value", "origin"), [tuple(map(_text, row.values())) for row in rows])
    context.console.result({"settings": rows}, text)


@app.command()
def get(ctx: typer.Context, key: KeyArgument) -> None:
    """Print one value.

    \b
    gpuctl config get flux.default_preset
    """
    context: Context = ctx.obj
    found = context.settings.value(key)
    shown = _shown(key, found.value)
    context.console.result({"key": key, "value": shown, "origin": found.origin}, _text(shown))


@app.command("set")
def set_(
    ctx: typer.Context,
    key: KeyArgument,
    value: Annotated[str | None, typer.Argument(metavar="[VALUE]")] = None,
    project: Annotated[
        bool, typer.Option("--project", help="Write ./gpuctl.yaml, not the user's file.")
    ] = False,
) -> None:
    """Change one value. A secret is asked for, or read from stdin, and goes into ./.env (0600).

    \b
    gpuctl config set flux.default_preset quality
    """
    context: Context = ctx.obj
    default = context.settings.value(key)
    if key in layers.SECRET_KEYS:
        path = _set_secret(context, key, value)
    elif value is None:
        raise UsageError(f"which value for {key}?", hint=f"gpuctl config set {key} VALUE")
    else:
        layers.typed(key, value, default.value)
        path = context.project_folder / "gpuctl.yaml" if project else context.user_config
        if not context.is_dry_run:
            set_in_yaml(path, key, value)
    context.console.result({"key": key, "file": str(path)}, f"{key} is set in {path}", changed=True)


@app.command()
def path(ctx: typer.Context) -> None:
    """Print the files that are read, the strongest first."""
    context: Context = ctx.obj
    folder = context.project_folder
    files = [folder / ".env", folder / "config.env", folder / "gpuctl.yaml", context.user_config]
    rows = [{"file": str(file), "exists": file.is_file()} for file in files]
    text = "\n".join(f"{'✓' if row['exists'] else '·'} {row['file']}" for row in rows)
    context.console.result({"files": rows, "state": str(context.state_folder)}, text)


@app.command("forget-key")
def forget_key(
    ctx: typer.Context,
    machine: Annotated[str, typer.Argument(metavar="MACHINE", help="Id, name or user@host:port.")],
) -> None:
    """Forget a machine's pinned host key, so that the next connection accepts a new one."""
    context: Context = ctx.obj
    found = context.state.machine(machine)
    was_pinned = context.state.unpin(found.id if found else machine)
    text = "forgotten" if was_pinned else "no key was pinned for that machine"
    context.console.result({"machine": machine, "forgotten": was_pinned}, text, changed=was_pinned)


def _set_secret(context: Context, key: str, value: str | None) -> Path:
    if value is not None:
        raise UsageError(
            f"{key} is a secret: on the command line it would stay in the shell's history",
            hint=f"gpuctl config set {key}   asks for it, or reads it from stdin",
        )
    if context.console.can_ask:
        secret = getpass.getpass(f"{key}: ").strip()
    else:
        secret = sys.stdin.read().strip()
    if not secret:
        raise UsageError(f"no value was given for {key}")
    path = context.project_folder / ".env"
    if not context.is_dry_run:
        settings_files.set_in_env(path, key, secret)
    return path


def _shown(key: str, value: Any) -> Any:
    return "***" if key in layers.SECRET_KEYS and value else value


def _text(value: Any) -> str:
    if value is None:
        return "—"
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
