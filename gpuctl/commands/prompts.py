"""`enhance` and `tokens`: what Claude makes of a prompt, and what the encoders see of it."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from gpuctl.commands import prompts_text
from gpuctl.context import Context
from gpuctl.services import clip_reference, clip_tokens, enhancement, prompts
from gpuctl.services.enhancement import Enhancement

Prompt = Annotated[str | None, typer.Argument(help="The prompt; - reads it from stdin.")]
PromptFile = Annotated[
    Path | None, typer.Option("--prompt-file", help="Read the prompt from this file.")
]


def enhance(
    ctx: typer.Context,
    prompt: Prompt = None,
    prompt_file: PromptFile = None,
    model: Annotated[
        str | None, typer.Option("--model", help="The Claude model; default: claude.model.")
    ] = None,
    no_cache: Annotated[
        bool, typer.Option("--no-cache", help="Ask again, even if the answer is known.")
    ] = False,
) -> None:
    """Let Claude rewrite a prompt, and show the difference.

    \b
    gpuctl enhance "a red fox in snow"
    """
    context: Context = ctx.obj
    request = enhancement.request_from(
        context.settings,
        prompts.read_prompt(prompt, prompt_file, sys.stdin),
        project_folder=context.project_folder,
        cache_folder=None if no_cache else context.cache_folder,
        model=model,
    )
    with enhancement.start(request) as pending:
        if pending.is_running:
            context.console.step(f"asking {request.model}")
        show_enhancement(context, pending.result())


def show_enhancement(context: Context, found: Enhancement) -> None:
    """The rewritten prompt on stdout; the difference, or why there is none, on stderr."""
    steps = enhancement.diff(found.original, found.text)
    if found.warning:
        context.console.warn(found.warning)
    elif not context.console.is_json:
        context.console.note(prompts_text.difference(steps, context.console.style))
    data = {**asdict(found), "enhanced": found.is_enhanced, "diff": steps}
    context.console.result(data, found.text)


def tokens(
    ctx: typer.Context,
    prompt: Prompt = None,
    prompt_file: PromptFile = None,
    model: Annotated[
        str | None, typer.Option("--model", help="Whose limits; default: flux.default_model.")
    ] = None,
    reference: Annotated[
        bool, typer.Option("--reference", help="Count with transformers too, and compare.")
    ] = False,
) -> None:
    """Show what the text encoders see of a prompt.

    \b
    gpuctl tokens "a red fox in snow"
    """
    context: Context = ctx.obj
    text = prompts.read_prompt(prompt, prompt_file, sys.stdin)
    limits = prompts.limits_of(context.settings, model)
    meter = prompts.meter(text, clip_limit=limits.clip, text_limit=limits.text)
    data = {**asdict(meter), "text_over": meter.text_over, "model": limits.model}
    lines = prompts_text.meter_lines(meter)
    if reference:
        ids = clip_reference.encode(text, context.cache_folder / "clip")
        agrees = ids == clip_tokens.encode(text)
        data["reference"] = {"clip_tokens": len(ids), "agrees": agrees}
        lines.append(prompts_text.comparison(clip_tokens.count(text), len(ids), agrees))
    context.console.result(data, "\n".join(lines))
