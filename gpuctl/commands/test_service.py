"""`gpuctl test`: whether a transcription service lives, takes clients, and hears right."""

from __future__ import annotations

from typing import Annotated

import typer

from gpuctl.context import Context
from gpuctl.errors import PassedThrough
from gpuctl.models import Json

app = typer.Typer(help="Test a running service: health, transcription.")

TargetArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="[TARGET]",
        help="Machine (pod, EC2 instance, ssh host) or URL (ws://…). Default: that of whisper.",
    ),
]


@app.command()
def health(ctx: typer.Context, target: TargetArgument = None) -> None:
    """Ask /health, /ready and /status, and show what they say. Exit code 8 when one is not well.

    \b
    gpuctl test health
    gpuctl test health wss://abc123-9090.proxy.runpod.net
    """
    context: Context = ctx.obj
    from gpuctl.commands.service_choice import place_of  # noqa: PLC0415  not for --help
    from gpuctl.services import whisper_checks as checks  # noqa: PLC0415  likewise

    with place_of(context, target) as place:
        name = place.name
        asked = [
            look(place.get, context.clock) for look in (checks.health, checks.ready, checks.status)
        ]
    is_ok = all(check.is_ok for check in asked)
    lines = [
        f"{_mark(context, check.is_ok)} {check.name:<7} {check.detail} "
        f"({check.elapsed_s * 1000:.0f} ms)"
        for check in asked
    ]
    lines += _status_lines(asked[-1].body)
    data = {"target": name, "checks": [check.as_json() for check in asked]}
    context.console.result(data, "\n".join(lines), ok=is_ok)
    if not is_ok:
        raise PassedThrough(8)


@app.command()
def transcription(ctx: typer.Context, target: TargetArgument = None) -> None:
    """Send a recording whose words are known, and compare. Exit code 8 when it is heard wrong.

    The recording comes with gpuctl: two sentences by a synthetic voice.

    \b
    gpuctl test transcription
    gpuctl test transcription ws://10.0.0.5:9090
    """
    context: Context = ctx.obj
    from gpuctl.commands.service_choice import place_of  # noqa: PLC0415  not for --help
    from gpuctl.services import whisper_checks as checks  # noqa: PLC0415  likewise
    from gpuctl.services.transcribing_files import Options  # noqa: PLC0415  likewise

    settings = context.settings
    options = Options(language="en", model=settings.text("whisper.model"))
    limit_s = settings.number("whisper.ready_limit_s")
    with place_of(context, target) as place:
        place.awake(context.clock, context.console, limit_s)
        context.console.step("sending the sample")
        spoken = checks.transcription(
            lambda: place.dial(options, limit_s), checks.sample(), context.clock, context.console
        )
        name = place.name
    heard = spoken.transcript
    lines = [
        f"{_mark(context, spoken.is_ok)} word error {spoken.word_error:.0%} "
        f"in {heard.elapsed_s:.1f} s ({heard.duration_s:.1f} s of audio, engine {heard.engine})",
        f"  said:  {spoken.expected}",
        f"  heard: {heard.text}",
    ]
    data = {"target": name, **spoken.as_json()}
    context.console.result(data, "\n".join(lines), ok=spoken.is_ok)
    if not spoken.is_ok:
        raise PassedThrough(8)


def _mark(context: Context, is_ok: bool) -> str:
    return context.console.style_result("✓" if is_ok else "✗", "green" if is_ok else "red")


def _status_lines(body: Json) -> list[str]:
    if not body:
        return []
    gpus = ", ".join(
        f"{gpu['name']} ({gpu['used_mib']} of {gpu['total_mib']} MiB)"
        for gpu in body.get("gpus") or ()
    )
    rows = {
        "model": body.get("model"),
        "gpu": gpus or "none",
        "clients": f"{body.get('clients')} of {body.get('max_clients')}",
        "uptime": f"{body.get('uptime_s')} s",
        "error": body.get("error"),
    }
    return [f"  {name:<8} {value}" for name, value in rows.items() if value is not None]
