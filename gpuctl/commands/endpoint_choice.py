"""Which endpoint a command means, and the one that is made when a job of the simulator needs it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from gpuctl.commands.machine_choice import need
from gpuctl.context import Context
from gpuctl.errors import CredentialsError
from gpuctl.models import Endpoint, Machine, Need, Secret
from gpuctl.services import (
    endpoint_making,
    endpoint_memory,
    endpoint_orders,
    image_needs,
    image_refs,
    queue_link,
)
from gpuctl.services.endpoint_orders import EndpointPlan, EndpointWishes


def listed_endpoint(context: Context, on: str) -> Machine | None:
    """The account's endpoint of that name or id, also one that this computer never saw."""
    try:
        every = endpoint_making.listed(context.endpoint_session())
    except CredentialsError:
        return None
    named = endpoint_memory.named(on, every)
    return endpoint_memory.as_machine(named) if named else None


def plan(context: Context, workload: str, wishes: EndpointWishes) -> EndpointPlan:
    """What would be asked for. Raises UsageError, NoCapacity, BudgetRefused."""
    volume_ids = wishes.volume_ids or context.settings.strings("endpoint.volume_ids")
    places = endpoint_orders.places_of(context.endpoints(), volume_ids, wishes.data_centers)
    return endpoint_orders.plan(
        context.settings,
        workload,
        _need(context, workload, wishes.image),
        with_bucket(context, replace(wishes, data_centers=places)),
        context.endpoints().cards(),
        secrets(context),
    )


def _need(context: Context, workload: str, image: str | None) -> Need:
    """With the image of the workers: never the default of a machine, to which our scripts are
    sent, because a worker's image has to have them."""
    settings = context.settings
    named = replace(
        need(context, workload),
        image=image or image_refs.reference(settings, workload, "full"),
    )
    return image_needs.as_pushed(settings, context.state, workload, named)


def with_bucket(context: Context, wishes: EndpointWishes) -> EndpointWishes:
    """The workers are told where large results go; what the operator says wins."""
    env = {**queue_link.worker_environment(context.bucket()), **wishes.env}
    return replace(wishes, env=env)


def secrets(context: Context) -> Mapping[str, Secret]:
    """What workers need to know: the bucket's key and Hugging Face's."""
    token = context.settings.secret("huggingface.token")
    return queue_link.worker_secrets(context.bucket(), token)


def make(context: Context, wanted: EndpointPlan) -> Endpoint:
    session, order = context.endpoint_session(), wanted.order
    endpoint_making.reconcile(session)
    image_needs.must_be_there(
        context.settings,
        context.state,
        order.workload,
        order.need.image,
        context.registries,
        context.console,
    )
    context.console.step(f"making endpoint {order.name}")
    return endpoint_making.create(session, order)


def made_for_the_simulator(context: Context, workload: str) -> Machine:
    wanted = plan(context, workload, EndpointWishes())
    cheapest = wanted.choice.cards[0].name
    context.console.note(f"no endpoint yet: making a simulated one ({cheapest} and up)")
    return endpoint_memory.as_machine(make(context, wanted))
