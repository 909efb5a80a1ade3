"""Looks at everything the first deploy would fail on, and says what to type."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gpuctl import config, resources
from gpuctl.commands.findings_text import findings_text, summary
from gpuctl.context import Context
from gpuctl.errors import ConfigError, ValidationFailed
from gpuctl.services import doctor as checking
from gpuctl.services import (
    doctor_accounts,
    doctor_local,
    doctor_machines,
    doctor_programs,
    doctor_runpod,
    doctor_ssh,
)

WORKLOAD = "flux"


def doctor(
    ctx: typer.Context,
    fix: Annotated[
        bool, typer.Option("--fix", help="Mend what is safe to mend, and say what was done.")
    ] = False,
    deep: Annotated[
        bool, typer.Option("--deep", help="Also log in to the machines that run.")
    ] = False,
) -> None:
    """Check everything that a deploy needs; each problem with the command that mends it.

    \b
    gpuctl doctor
    gpuctl doctor --fix --deep
    """
    context: Context = ctx.obj
    error = _make_settings(context)
    bench = _bench(context, error, fixes=fix and not context.is_dry_run)
    checks = [
        *doctor_local.CHECKS,
        *doctor_programs.CHECKS,
        *doctor_ssh.CHECKS,
        *doctor_runpod.CHECKS,
        *doctor_accounts.CHECKS,
        *(doctor_machines.CHECKS if deep else ()),
    ]
    total = len(checks)
    found = checking.run(
        bench, checks, on_done=lambda done: context.console.progress("checks", done, total)
    )
    failed = sum(finding.status == "fail" for finding in found)
    context.console.result(
        {"checks": [finding.as_json() for finding in found], "summary": summary(found)},
        f"{findings_text(context.console, found)}\n\n{summary(found)}",
        changed=any(finding.fixed for finding in found),
        ok=not failed,
    )
    if failed:
        raise typer.Exit(ValidationFailed.exit_code)


def _make_settings(context: Context) -> ConfigError | None:
    """A broken configuration is a finding; the other checks go on with the defaults."""
    try:
        _ = context.settings
    except ConfigError as error:
        nowhere = context.state_folder / "no-configuration"
        context.settings = config.load(
            schema=resources.bundled("config_defaults.yaml"),
            cache_folder=context.cache_folder,
            environ={},
            project_folder=nowhere,
            user_config=nowhere,
        )
        return error
    return None


def _bench(context: Context, error: ConfigError | None, *, fixes: bool) -> checking.Bench:
    settings = context.settings
    api_url = context.simulator.api_url if context.is_sim else settings.text("runpod.api_url")
    connector = context.connector()
    return checking.Bench(
        settings=settings,
        environ=context.environ,
        folder=context.project_folder,
        home=Path.home(),
        state=context.state,
        ssh_key=context.ssh_key,
        api_url=api_url.rstrip("/"),
        api_key=context.api_key,
        provider=context.provider(),
        need=context.need(WORKLOAD),
        clock=context.clock,
        connect=connector.connect,
        config_error=error,
        is_sim=context.is_sim,
        fixes=fixes,
        timeout_s=min(10.0, settings.number("runpod.timeout_s")),
    )
