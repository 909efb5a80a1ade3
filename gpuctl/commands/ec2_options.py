"""The options of the EC2 commands, and what they all begin with."""

from __future__ import annotations

from typing import Annotated

import typer

from gpuctl.commands.machine_choice import need
from gpuctl.commands.render import money
from gpuctl.config import Settings
from gpuctl.context import Context
from gpuctl.errors import ConfigError, UsageError
from gpuctl.models import Machine, MachineRequest
from gpuctl.services import ec2_ending, ec2_orders, image_refs
from gpuctl.services.booting import DEAD
from gpuctl.services.ec2_desk import Desk
from gpuctl.services.ec2_orders import Asked

DEFAULT_WORKLOAD = "whisper"
HERE = "127.0.0.1/32"

WorkloadArgument = Annotated[
    str, typer.Argument(metavar="[WORKLOAD]", help="Whose image is rehearsed.")
]
InstanceArgument = Annotated[
    str | None, typer.Argument(metavar="[INSTANCE]", help="Name or id. Default: the only one.")
]
TypeOption = Annotated[
    list[str] | None,
    typer.Option("--type", metavar="TYPE", help="Instance type, best first; repeatable."),
]
RegionOption = Annotated[str | None, typer.Option("--region", metavar="REGION", help="Where.")]
SpotOption = Annotated[
    bool | None, typer.Option("--spot/--on-demand", help="Cheaper, and may be taken away.")
]
TtlOption = Annotated[
    str | None, typer.Option("--ttl", metavar="TIME", help="Ends itself after so long: 90m.")
]
FromOption = Annotated[
    str | None,
    typer.Option("--from", metavar="CIDR", help="Who may ssh in. Default: our own address."),
]
SlimOption = Annotated[
    bool | None,
    typer.Option("--slim/--full", help="Which variant. Default: the one that was pushed last."),
]
ImageOption = Annotated[
    str | None, typer.Option("--image", metavar="REF", help="Another image than ours.")
]
ReuseOption = Annotated[bool, typer.Option("--reuse", help="Use the instance that is there.")]
ReplaceOption = Annotated[
    bool, typer.Option("--replace", help="End the instance that is there, and rent a new one.")
]
PullOption = Annotated[
    bool, typer.Option("--pull", help="Pull the image also when the instance has it.")
]


def desk(context: Context) -> Desk:
    """Raises CredentialsError, MissingDependency."""
    return Desk(
        settings=context.settings,
        access=context.aws_access,
        session=context.session("ec2"),
        ssh_key=context.ssh_key,
        here=HERE if context.is_sim else None,
    )


def settled(context: Context) -> Desk:
    """The desk, after what an interrupted rehearsal left was ended."""
    found = desk(context)
    if not context.is_dry_run:
        ec2_ending.settle(found.session)
    return found


def is_slim(context: Context, workload: str, asked: bool | None) -> bool:
    """As asked; else as was pushed last from here; else full."""
    if asked is not None:
        return asked
    pushed = [record for record in image_refs.remembered(context.state) if record.get("digest")]
    variants = [one.get("variant") for one in pushed if one.get("workload") == workload]
    return variants[:1] == ["slim"]


def image_of(settings: Settings, workload: str, *, is_slim: bool, asked: str | None) -> str:
    """The image that is rehearsed: the one that `build` and `push` make, unless another is asked
    for; else the one that is configured."""
    if asked:
        return asked
    try:
        return image_refs.reference(settings, workload, "slim" if is_slim else "full")
    except ConfigError:
        key = f"{workload}.image_slim" if is_slim else f"{workload}.image"
        configured = settings.text_or_none(key)
        if configured is None:
            raise
        return configured


def request_of(context: Context, asked: Asked, workload: str, image: str) -> MachineRequest:
    """Raises UsageError for a workload that nobody knows."""
    return ec2_orders.request(context.settings, asked, workload, image, need(context, workload))


def existing(context: Context, found: Desk, *, reuse: bool, replace: bool) -> Machine | None:
    """The instance that is there already, if it shall be used; None: there is none to use, and
    one that was to be replaced is gone. Raises UsageError when the answer is to do nothing."""
    if reuse and replace:
        raise UsageError("--reuse and --replace exclude each other")
    awake = [machine for machine in found.instances() if machine.status not in DEAD]
    if not awake:
        return None
    machine = awake[0]
    described = f"{machine.name} ({machine.id}) is {machine.status}, "
    described += f"{money(machine.price_usd_h, 3)}/h"
    console = context.console
    if not reuse and not replace:
        choices = {"u": "use it", "r": "replace it", "c": "cancel"}
        answer = "c"
        if console.can_ask and not console.options.yes:
            answer = console.choose(f"{described}.", choices, flag="--reuse or --replace")
        if answer == "c":
            raise UsageError(described, hint="--reuse uses it, --replace ends it first")
        replace = answer == "r"
    if not replace:
        console.note(f"{described}; it is used")
        return machine
    from gpuctl.services import machines  # noqa: PLC0415  only when one is replaced

    machines.terminate(found.session, machine)
    return None
