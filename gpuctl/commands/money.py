"""What bills now, what was spent, and how to end everything at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import typer

from gpuctl.commands import money_text as text
from gpuctl.commands.machine_choice import reconcile
from gpuctl.context import Context
from gpuctl.errors import GpuctlError, UsageError
from gpuctl.services import costs, machines, panic, resources

ACT = 9  # unknown, or still billing: act (errors.EXIT_CODES)
HISTORY = 100_000


def resources_(
    ctx: typer.Context,
    ours: Annotated[bool, typer.Option("--ours", help="Leave out what gpuctl did not make.")] = (
        False
    ),
) -> None:
    """Show everything that bills, at every provider: running, forgotten, and not ours.

    Exit code 9 when somebody could not be asked: then it is no all-clear.

    \b
    gpuctl resources
    gpuctl resources --ours --json
    """
    context: Context = ctx.obj
    found, unresolved = _stock(context)
    is_known = not found.unasked and not unresolved
    context.console.result(
        text.inventory_data(found, unresolved, ours_only=ours),
        text.inventory_text(found, unresolved, ours_only=ours),
        ok=is_known,
    )
    if not is_known:
        raise typer.Exit(ACT)


def cost(
    ctx: typer.Context,
    since: Annotated[
        str, typer.Option("--since", metavar="WHEN", help="7d, 12h, 2w, or a date.")
    ] = "30d",
    by: Annotated[
        str, typer.Option("--by", metavar="GROUP", help="machine, workload or day.")
    ] = "machine",
) -> None:
    """Show what was billed beside what our own records say, and why they differ.

    Bills come hours late; the estimate is from the journal, at the rate that was agreed.
    Exit code 9 when the bills could not be read: then there is only the estimate.

    \b
    gpuctl cost --since 7d --by workload
    """
    context: Context = ctx.obj
    if by not in costs.GROUPS:
        raise UsageError(f"there is no --by {by}", hint=f"one of {', '.join(costs.GROUPS)}")
    asked = costs.window(since, context.clock.now())
    _look(context)
    state = context.state
    records = costs.Records(state.journal(HISTORY), state.machines(), state.jobs(limit=HISTORY))
    found = costs.spent(context.account(), records, asked, by=by)
    context.console.result(
        text.costs_data(found, by), text.costs_text(found, by), ok=not found.failed
    )
    if found.failed:
        raise typer.Exit(ACT)


def panic_(
    ctx: typer.Context,
    confirm: Annotated[
        str | None,
        typer.Option("--confirm", metavar="panic", help="Type the word here instead of later."),
    ] = None,
) -> None:
    """End every machine and endpoint of ours at once, each with proof. Storage stays.

    Works with nothing but the API key: ours is what is called gpuctl-…, or is in the journal.

    \b
    gpuctl panic --dry-run
    gpuctl panic --confirm=panic
    """
    context: Context = ctx.obj
    found, unresolved = _stock(context)
    doomed, kept = panic.doomed(found), panic.kept(found)
    if context.is_dry_run:
        preview = panic.Outcome((), tuple(kept))
        data = {"would_end": [text.holding_data(each) for each in doomed]}
        shown = text.holdings_text(doomed) or "nothing of ours could be ended"
        _show(context, found, unresolved, data | text.outcome_data(preview), shown)
        return
    if doomed:
        _confirmed(context, text.holdings_text(doomed), confirm)
    means = panic.Means(
        context.session(), context.account(), {each.region: each for each in context.aws_regions()}
    )
    outcome = panic.end_all(means, doomed, kept)
    shown = (
        text.outcome_text(outcome) if doomed else f"nothing of ours runs\n{text.storage_text(kept)}"
    )
    _show(
        context,
        found,
        [*unresolved, *(each.holding.id for each in outcome.still)],
        text.outcome_data(outcome),
        shown,
        changed=len(outcome.still) < len(doomed),
    )


def _confirmed(context: Context, preview: str, confirm: str | None) -> None:
    """The word itself: --yes is for questions that cost little. Raises UsageError."""
    console = context.console
    console.note(f"this will be ended:\n{preview}")
    given = confirm
    if given is None:
        given = console.word("this cannot be undone; type panic to go on: ", "--confirm=panic")
    if given != "panic":
        raise UsageError("nothing was ended", hint="--confirm=panic")


def _show(
    context: Context,
    found: resources.Inventory,
    unknown: list[str],
    data: Mapping[str, object],
    shown: str,
    *,
    changed: bool = False,
) -> None:
    """The result, and exit code 9 when something may bill on."""
    lines = [shown]
    lines += [f"{who} could not be asked: {e.message}" for who, e in found.unasked.items()]
    lines += [f"{name} may still bill: gpuctl resources" for name in unknown]
    is_over = not found.unasked and not unknown
    data = {**data, "unasked": list(found.unasked), "unknown": unknown}
    context.console.result(data, "\n".join(lines), changed=changed, ok=is_over)
    if not is_over:
        raise typer.Exit(ACT)


def _stock(context: Context) -> tuple[resources.Inventory, list[str]]:
    """Everything there is, and the names of what may be there besides."""
    _look(context)
    state = context.state
    memory = resources.Memory(
        machines=state.machines(),
        journal=state.journal(HISTORY),
        jobs=state.jobs(limit=HISTORY),
        volume_id=context.settings.text_or_none("runpod.volume_id"),
    )
    asked = resources.questions(context.account(), context.aws_regions())
    context.console.step(f"asking {', '.join(asked)}")
    found = resources.take_stock(asked, memory, now=context.clock.now())
    return found, [intent.name for intent in state.unresolved()]


def _look(context: Context) -> None:
    """Settles what interrupted commands left. A provider that is down is told of later."""
    if context.is_dry_run:
        return
    try:
        reconcile(context)
        machines.status(context.session())
    except GpuctlError as error:
        context.console.warn(f"what became of earlier commands is unknown: {error.message}")
