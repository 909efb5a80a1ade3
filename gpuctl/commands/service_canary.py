"""Tries a machine whose workload is a service: it must live, take clients, and hear right."""

from __future__ import annotations

from gpuctl.commands.service_choice import at_machine
from gpuctl.context import Context
from gpuctl.models import Json, Machine
from gpuctl.services import whisper_checks as checks
from gpuctl.services.transcribing_files import Options


def run(context: Context, machine: Machine) -> tuple[str, Json]:
    """What it showed, in words and as data. Raises ValidationFailed, TimedOut, what connecting
    raises."""
    settings, clock, console = context.settings, context.clock, context.console
    limit_s = settings.number("deploy.canary_limit_s")
    options = Options(language="en", model=settings.text("whisper.model"))
    with at_machine(context, machine) as place:
        ready = checks.until_ready(place.get, clock, limit_s=limit_s, report=console)
        console.step("trying it with a recording")
        spoken = checks.transcription(
            lambda: place.dial(options, limit_s), checks.sample(), clock, console
        )
        looks = [checks.health(place.get, clock), ready, checks.status(place.get, clock)]
    checks.refuse(looks, spoken)
    words = f"works: heard the sample with a word error of {spoken.word_error:.0%}"
    data = {"checks": [look.as_json() for look in looks], "transcription": spoken.as_json()}
    return words, data
