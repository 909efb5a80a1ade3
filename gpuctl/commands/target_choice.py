"""Which machine or endpoint a job goes to. In the simulator, where it is free, one is made."""

from __future__ import annotations

from pathlib import Path

from gpuctl.context import Context
from gpuctl.models import Machine
from gpuctl.services import targets


def configured_target(context: Context, workload: str, on: str | None) -> Machine | None:
    """The one that `--on` or the configuration means; None when there is none yet."""
    return targets.resolve(
        on,
        workload,
        settings=context.settings,
        memory=context.state,
        provider=context.provider,
        ssh_config=Path("~/.ssh/config").expanduser(),
    )


def usable_target(context: Context, workload: str, on: str | None) -> Machine:
    """Raises NotFound where there is none and nothing may be rented unasked."""
    machine = configured_target(context, workload, on)
    if machine is not None:
        return machine
    if not context.is_sim:
        raise targets.none_for(workload)
    return _rent(context, workload)


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
