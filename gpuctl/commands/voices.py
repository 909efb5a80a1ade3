"""`gpuctl voices`: the voices that may be cloned, by name."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gpuctl.commands.tts_text import voice_data, voice_text, voices_text
from gpuctl.context import Context
from gpuctl.services import voice_files

app = typer.Typer(help="Add, list, show and remove voices to speak with.")

CONSENT_QUESTION = "Whose voice is it, and how do you know that it may be cloned?"
CONSENT_FLAG = '--consent "my own voice"'
ConsentOption = Annotated[
    str | None,
    typer.Option(
        "--consent", metavar="NOTE", help="Whose voice it is and why it may be cloned; kept."
    ),
]
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The voice's name.")]


@app.command("add")
def add(
    ctx: typer.Context,
    name: NameArgument,
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="5 to 15 s of clean speech, in any format.")
    ],
    consent: ConsentOption = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Take this clip in place of the one before.")
    ] = False,
) -> None:
    """Keep a clip as a voice, checked and converted.

    \b
    gpuctl voices add me recording.m4a --consent "my own voice"
    """
    context: Context = ctx.obj
    source = Path(file).expanduser()
    if context.is_dry_run:
        clip = voice_files.examine(source)
        data = {"name": name, "duration_s": clip.duration_s, "warnings": clip.warnings()}
        lines = [f"would keep {source} as {name}: {clip.duration_s:.1f} s at {clip.rate} Hz"]
        context.console.result(data, "\n".join([*lines, *clip.warnings()]))
        return
    note = consent or context.console.ask(CONSENT_QUESTION, flag=CONSENT_FLAG)
    voice = context.voices.add(name, source, note, replaces=replace)
    for warning in voice.warnings:
        context.console.warn(warning)
    context.console.note(f'gpuctl tts "Hello." --voice {name}')
    context.console.result(voice_data(voice), voice_text(voice), changed=True)


@app.command("list")
def list_(ctx: typer.Context) -> None:
    """List voices with their notes on consent.

    \b
    gpuctl voices list
    """
    context: Context = ctx.obj
    voices = context.voices.all()
    if not voices:
        context.console.note('no voices yet; gpuctl voices add me me.wav --consent "my own voice"')
    text = voices_text(voices) if voices else ""
    context.console.result({"voices": [voice_data(voice) for voice in voices]}, text)


@app.command("show")
def show(ctx: typer.Context, name: NameArgument) -> None:
    """Show where a voice came from and who agreed to it.

    \b
    gpuctl voices show me
    """
    context: Context = ctx.obj
    voice = context.voices.named(name)
    context.console.result(voice_data(voice), voice_text(voice))


@app.command("remove")
def remove(ctx: typer.Context, name: NameArgument) -> None:
    """Forget a voice and delete its clip here. Workers keep what was sent to them.

    \b
    gpuctl voices remove me
    """
    context: Context = ctx.obj
    if context.is_dry_run:
        voice = context.voices.named(name)
        context.console.result(voice_data(voice), f"would remove {voice_text(voice)}")
        return
    voice = context.voices.remove(name)
    context.console.result(voice_data(voice), f"removed {voice.title}", changed=True)
