"""Which machine or endpoint a job goes to. In the simulator, where it is free, one is made."""

from __future__ import annotations

from pathlib import Path

from gpuctl.context import Context
from gpuctl.errors import NotFound
from gpuctl.models import Machine
from gpuctl.services import endpoint_memory, targets
from gpuctl.workloads import WORKLOADS


def configured_target(context: Context, workload: str, on: str | None) -> Machine | None:
    """The one that `--on` or the configuration means; None when there is none yet."""
    if on is not None and on.startswith(("https://", "http://")):
        return targets.service_at(on, workload)
    endpoint = _known_endpoint(context, workload, on)
    if endpoint is not None:
        return endpoint
    try:
        return targets.resolve(
            on,
            workload,
            settings=context.settings,
            memory=context.state,
            provider=context.provider,
            ssh_config=Path("~/.ssh/config").expanduser(),
        )
    except NotFound:
        from gpuctl.commands import endpoint_choice  # noqa: PLC0415  only for a name not seen yet

        found = endpoint_choice.listed_endpoint(context, on) if on else None
        if found is None:
            raise
        return found


def usable_target(context: Context, workload: str, on: str | None) -> Machine:
    """Raises NotFound where there is none and nothing may be rented unasked."""
    machine = configured_target(context, workload, on)
    if machine is not None:
        return machine
    if not context.is_sim:
        raise targets.none_for(workload)
    if WORKLOADS[workload].PLACE == "endpoint":
        from gpuctl.commands import endpoint_choice  # noqa: PLC0415  only for the first job

        return endpoint_choice.made_for_the_simulator(context, workload)
    return _rent(context, workload)


def _known_endpoint(context: Context, workload: str, on: str | None) -> Machine | None:
    """The endpoint that `--on` means; without it, the workload's, where endpoints are its place.

    Only what this computer has seen: nobody is asked.
    """
    lives_on_endpoints = workload in WORKLOADS and WORKLOADS[workload].PLACE == "endpoint"
    if on is None:
        found = endpoint_memory.known(context.state, workload) if lives_on_endpoints else []
        return endpoint_memory.as_machine(found[0]) if found else None
    every = endpoint_memory.known(context.state)
    if on in WORKLOADS and not lives_on_endpoints:
        return None  # the name of a workload means its machine
    named = endpoint_memory.named(on, every)
    return endpoint_memory.as_machine(named) if named else None


def _rent(context: Context, workload: str) -> Machine:
    from gpuctl.services import deploy, orders  # noqa: PLC0415  only for the first job
    from gpuctl.services.ssh_identity import public_line  # noqa: PLC0415  likewise

    session = context.session()
    order = orders.order(
        context.settings, workload, context.need(workload), public_line(context.ssh_key)
    )
    plan = deploy.plan(session, order)
    context.console.note(f"no machine yet: renting a simulated {plan.first.gpu_name}")
    return deploy.deploy(session, plan, probe=context.connector().probe)
