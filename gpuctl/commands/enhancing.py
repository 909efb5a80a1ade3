"""Lets Claude rewrite a prompt while the machine is being reached, and shows what it changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpuctl.context import Context
from gpuctl.models import Json

if TYPE_CHECKING:
    from gpuctl.services.enhancement import Pending


def started(context: Context, prompt: str, *, is_explicit: bool = True) -> Pending:
    """Claude thinks while the connection is made. `is_explicit`: asked for now, not configured."""
    from gpuctl.services import enhancement  # noqa: PLC0415  only when asked for

    request = enhancement.request_from(
        context.settings,
        prompt,
        project_folder=context.project_folder,
        cache_folder=context.cache_folder,
        is_explicit=is_explicit,
    )
    return enhancement.start(request)


def read(context: Context, prompt: str, pending: Pending | None) -> Json:
    """The user's prompt, Claude's, and the one that will be read."""
    if pending is None:
        return {"user": prompt, "enhanced": None, "read": prompt}
    context.console.step("Claude is rewriting the prompt")
    found = pending.result()
    if found.warning:
        context.console.warn(found.warning)
        return {"user": prompt, "enhanced": None, "read": prompt}
    from gpuctl.commands.prompts_text import difference  # noqa: PLC0415  only when it changed
    from gpuctl.services.enhancement import diff  # noqa: PLC0415  loaded already

    context.console.note(difference(diff(prompt, found.text), context.console.style))
    return {"user": prompt, "enhanced": found.text, "read": found.text}
