"""`gpuctl sd loras|models|samplers|options|upscale|info`: what the WebUI has and may be told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from gpuctl.commands import sd_failures
from gpuctl.commands.generation import generate, generate_and_show, show_order
from gpuctl.commands.options import DetachOption, NoOpenOption, OnOption, OutOption
from gpuctl.commands.render import table
from gpuctl.context import Context
from gpuctl.errors import GpuctlError, NotFound, UsageError
from gpuctl.models import Json
from gpuctl.services import sd_orders

options_app = typer.Typer(help="Read and change the WebUI's options.", invoke_without_command=True)


@options_app.callback()
def options(ctx: typer.Context) -> None:
    """Read and change the WebUI's options; all of them are shown without get or set."""
    if ctx.invoked_subcommand is None:
        _show_options(ctx.obj, [], None)


def loras(ctx: typer.Context, on: OnOption = None) -> None:
    """List the LoRAs of the worker, as `--lora NAME` takes them."""
    context: Context = ctx.obj
    found = answer(context, "loras", on)
    if found is None:
        return
    rows = [(row["name"], str(row.get("alias") or ""), _file(row)) for row in found["loras"]]
    text = table(("lora", "alias", "file"), rows) or "no LoRA there"
    context.console.result(found, text)


def models(ctx: typer.Context, on: OnOption = None) -> None:
    """List the checkpoints of the worker; `*` is loaded."""
    context: Context = ctx.obj
    found = answer(context, "models", on)
    if found is None:
        return
    current = str(found.get("current") or "")
    rows = [
        (
            "*" if current and current in (row.get("title"), row.get("model_name")) else "",
            str(row.get("model_name")),
            str(row.get("hash") or ""),
            _file(row),
        )
        for row in found["models"]
    ]
    context.console.result(found, table(("", "model", "hash", "file"), rows) or "no model there")


def samplers(ctx: typer.Context, on: OnOption = None) -> None:
    """List the samplers of the worker, and its schedulers where they are apart."""
    context: Context = ctx.obj
    found = answer(context, "samplers", on)
    if found is None:
        return
    try:
        found |= answer(context, "schedulers", on) or {}
    except GpuctlError as error:
        context.console.note(f"no list of schedulers: {error.message}")
    rows = [(row["name"], ", ".join(row.get("aliases") or ())) for row in found["samplers"]]
    text = table(("sampler", "also called"), rows)
    labels = [str(row.get("label") or row.get("name")) for row in found.get("schedulers", ())]
    if labels:
        text += f"\n\nschedulers: {', '.join(labels)}"
    context.console.result(found, text)


@options_app.command("get")
def get_options(
    ctx: typer.Context,
    keys: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY]…", help="Only these; all without any.")
    ] = None,
    on: OnOption = None,
) -> None:
    """Show the WebUI's options.

    \b
    gpuctl sd options get sd_model_checkpoint CLIP_stop_at_last_layers
    """
    _show_options(ctx.obj, keys or [], on)


def _show_options(context: Context, keys: list[str], on: str | None) -> None:
    found = answer(context, "options", on)
    if found is None:
        return
    present: Json = found["options"]
    for key in keys:
        if key not in present:
            raise _no_option(key, present)
    chosen = {key: present[key] for key in keys or sorted(present)}
    text = table(("option", "value"), [(k, json.dumps(v)[:100]) for k, v in chosen.items()])
    context.console.result({"options": chosen}, text)


@options_app.command("set")
def set_options(
    ctx: typer.Context,
    changes: Annotated[list[str], typer.Argument(metavar="KEY=VALUE…", help="One or more.")],
    on: OnOption = None,
) -> None:
    """Change options of the WebUI until it is restarted; each is read back.

    \b
    gpuctl sd options set sd_model_checkpoint=model.safetensors CLIP_stop_at_last_layers=2
    """
    context: Context = ctx.obj
    wanted = sd_orders.pairs(changes, "options set")
    found = answer(context, "set-options", on, wanted)
    if found is None:
        return
    context.console.note("an endpoint's other workers, and a restarted one, keep their own options")
    lines = [f"{key} = {json.dumps(value)}" for key, value in found["set"].items()]
    context.console.result(found, "\n".join(lines), changed=True)


def upscale(
    ctx: typer.Context,
    image: Annotated[str, typer.Argument(metavar="IMAGE", help="The picture to enlarge.")],
    scale: Annotated[float, typer.Option("--scale", metavar="X", help="1 to 8.")] = 2.0,
    upscaler: Annotated[
        str, typer.Option("--upscaler", metavar="NAME", help="Lanczos, ESRGAN_4x, …")
    ] = "R-ESRGAN 4x+",
    out: OutOption = None,
    open_: NoOpenOption = None,
    on: OnOption = None,
    detach: DetachOption = False,
) -> None:
    """Make a picture larger.

    \b
    gpuctl sd upscale out.png --scale 4
    """
    context: Context = ctx.obj
    if not 1 <= scale <= 8:
        raise UsageError(f"--scale must be between 1 and 8, not {scale:g}")
    from gpuctl.services import sd_inputs  # noqa: PLC0415  Pillow, only with a picture

    inputs: dict[str, Path] = {}
    shape = sd_inputs.measured(image, "the picture")
    name = sd_orders.named(shape.path, inputs)
    if shape.width * shape.height * scale**2 > 8192**2:
        raise UsageError(
            f"{shape.width}x{shape.height} times {scale:g} is more than 8192x8192",
            hint="use a smaller --scale",
        )
    order = sd_orders.api_order(
        "upscale",
        context.settings,
        {"image_file": name, "upscaling_resize": scale, "upscaler_1": upscaler},
        inputs,
        out=out,
        told={"stem": Path(image).stem},
    )
    with sd_failures.named():
        generate_and_show(context, order, on=on, detach=detach, open_=open_)


def info(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A PNG, JPEG or WebP.")],
) -> None:
    """Show how a picture was made: its parameters, and gpuctl's receipt. Asks no machine.

    \b
    gpuctl sd info outputs/a-portrait-7.png
    """
    from gpuctl.services import sd_pictures  # noqa: PLC0415  Pillow, only here

    context: Context = ctx.obj
    found = sd_pictures.read(file)
    again = sd_pictures.command_line(found.infotext)
    data = {
        "file": str(file),
        "text": found.text,
        "prompt": found.infotext.prompt,
        "negative": found.infotext.negative,
        "parameters": found.infotext.parameters,
        "receipt": found.receipt,
        "command": again or None,
    }
    lines = [found.text or "no parameters of Automatic1111"]
    if found.receipt is not None:
        lines.append(f"\ngpuctl replay {file}   (job {found.receipt.get('job')})")
    elif again:
        lines.append(f"\n{again}")
    context.console.result(data, "\n".join(lines))


def answer(context: Context, api: str, on: str | None, fields: Json | None = None) -> Json | None:
    """What the WebUI says to `api`; None after a --dry-run, which only shows the job."""
    order = sd_orders.api_order(api, context.settings, fields)
    if context.is_dry_run:
        show_order(context, order, on)
        return None
    with sd_failures.named():
        record = generate(context, order, on=on, detach=False).record
    found = record.metrics.get("answer")
    if not isinstance(found, dict):
        raise GpuctlError(f"the worker did not answer {api}", hint=f"gpuctl jobs show {record.id}")
    return dict(found)


def _file(row: Json) -> str:
    return str(row.get("filename") or row.get("path") or "").replace("\\", "/").rpartition("/")[2]


def _no_option(key: str, present: Json) -> NotFound:
    from difflib import get_close_matches  # noqa: PLC0415  only on the way out

    near = get_close_matches(key, list(present), n=1)
    return NotFound(
        f"the WebUI has no option '{key}'",
        hint=f"did you mean {near[0]}?" if near else "gpuctl sd options get",
    )
