"""Which transcription service a command talks to: a URL, or a machine through its tunnel."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from gpuctl.commands.target_choice import usable_target
from gpuctl.context import Context
from gpuctl.errors import NotFound, UsageError
from gpuctl.models import Machine
from gpuctl.services import targets, whisper_places
from gpuctl.services.whisper_places import Place
from gpuctl.workloads import whisper


@contextmanager
def place_of(context: Context, on: str | None, *, is_proxied: bool = False) -> Iterator[Place]:
    """Raises NotFound, UsageError, and what connecting raises; in the simulator one is rented."""
    token = context.settings.secret("whisper.token")
    if on is not None and "://" in on:
        yield whisper_places.of_url(on, token)
        return
    machine = usable_target(context, whisper.NAME, on)
    if not isinstance(machine, Machine):
        raise NotFound("an endpoint has no transcription service", hint="gpuctl deploy whisper")
    if is_proxied:
        yield _proxied(context, machine)
        return
    with at_machine(context, machine) as place:
        yield place


@contextmanager
def at_machine(context: Context, machine: Machine) -> Iterator[Place]:
    """Through its ssh connection."""
    token = context.settings.secret("whisper.token")
    with whisper_places.tunnelled(context.link(machine), token) as place:
        yield place


def target_name(place: Place) -> str:
    """What `--on` would be given to come here again."""
    return targets.name_for(place.machine) if place.machine is not None else place.name


def _proxied(context: Context, machine: Machine) -> Place:
    token = context.settings.secret("whisper.token")
    if machine.provider != "runpod" or context.is_sim:
        raise UsageError(
            "only a RunPod pod has a proxy", hint="without --proxy it goes through ssh"
        )
    if not token:
        raise UsageError(
            "the proxy is open to all, so the service listens to it only with a token",
            hint="gpuctl config set whisper.token, deploy again; or without --proxy, through ssh",
        )
    found = whisper_places.of_url(whisper.socket_url(machine.id), token)
    found.machine, found.name = machine, machine.name
    return found
