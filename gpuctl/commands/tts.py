"""`gpuctl tts`: from a text and a voice to a recording."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from gpuctl.commands.options import DetachOption, OnOption, OutOption
from gpuctl.commands.tts_speaking import Settled, Speaking, speak
from gpuctl.commands.voices import ConsentOption
from gpuctl.context import Context
from gpuctl.errors import UsageError
from gpuctl.services.speech_orders import format_of
from gpuctl.services.speech_text import read_text
from gpuctl.services.speech_timings import KINDS


def tts(
    ctx: typer.Context,
    text: Annotated[
        str | None, typer.Argument(metavar="TEXT", help="What is said; '-' reads it from stdin.")
    ] = None,
    file: Annotated[
        str | None, typer.Option("--file", "-f", metavar="FILE", help="Read the text from a file.")
    ] = None,
    voice: Annotated[
        str | None,
        typer.Option(
            "--voice", metavar="NAME|FILE", help="A name of `voices`, a clip, or volume:NAME."
        ),
    ] = None,
    consent: ConsentOption = None,
    emotion: Annotated[
        list[str] | None,
        typer.Option("--emotion", metavar="NAME:0.6", help="happy, angry, sad, …; repeatable."),
    ] = None,
    emotion_audio: Annotated[
        str | None,
        typer.Option("--emotion-audio", metavar="FILE", help="Feel as in this clip."),
    ] = None,
    emotion_text: Annotated[
        str | None,
        typer.Option("--emotion-text", metavar="TEXT", help="Feel as these words say."),
    ] = None,
    emotion_strength: Annotated[
        float | None,
        typer.Option("--emotion-strength", metavar="X", help="How much of it: 0 to 1."),
    ] = None,
    lang: Annotated[
        str | None, typer.Option("--lang", metavar="CODE", help="EN, ZH, JA, ES, AR or auto.")
    ] = None,
    speed: Annotated[
        float | None, typer.Option("--speed", metavar="X", help="0.5 (slow) to 2 (fast).")
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", metavar="N", help="The same seed, the same speech.")
    ] = None,
    format: Annotated[
        str | None,
        typer.Option("--format", metavar="ogg|wav|flac|mp3", help="As --out says, or ogg (Opus)."),
    ] = None,
    bitrate: Annotated[
        int | None, typer.Option("--bitrate", metavar="KBPS", help="Of ogg and mp3: 16 to 320.")
    ] = None,
    max_chars: Annotated[
        int | None,
        typer.Option("--max-chars", metavar="N", help="Longest chunk: 50 to 1000 characters."),
    ] = None,
    redo: Annotated[
        int | None,
        typer.Option(
            "--redo", metavar="N", help="Speak chunk N of that speech, or the last, anew."
        ),
    ] = None,
    timings: Annotated[
        str | None,
        typer.Option("--timings", metavar="srt|json", help="Write when each chunk is heard."),
    ] = None,
    out: OutOption = None,
    play: Annotated[bool, typer.Option("--play", help="Play it when it is here.")] = False,
    on: OnOption = None,
    detach: DetachOption = False,
) -> None:
    """Speak a text in a cloned voice.

    \b
    gpuctl tts "Hello from the queue." --voice me.wav --out hello.ogg
    gpuctl tts --file chapter.txt --voice me --emotion calm:0.5 --timings srt
    gpuctl tts --redo 4 --play
    """
    context: Context = ctx.obj
    _check(timings=timings, play=play, detach=detach)
    asked = Speaking(
        text=_text(text, file, redo),
        voice=voice,
        consent=consent,
        emotions=tuple(emotion or ()),
        emotion_audio=emotion_audio,
        emotion_text=emotion_text,
        emotion_strength=emotion_strength,
        lang=lang,
        speed=speed,
        seed=seed,
        format=format or format_of(out),
        bitrate_kbps=bitrate,
        max_chars=max_chars,
        redo=redo,
        out=out,
    )
    speak(context, asked, Settled(on=on, detach=detach, timings=timings, play=play))


def _check(*, timings: str | None, play: bool, detach: bool) -> None:
    if timings is not None and timings not in KINDS:
        raise UsageError(f"--timings {timings}: unknown", hint=f"one of {', '.join(KINDS)}")
    if detach and (timings or play):
        raise UsageError(
            "--detach does not wait for a recording to play or to time",
            hint="leave --detach out, or --timings and --play",
        )


def _text(text: str | None, file: str | None, redo: int | None) -> str | None:
    """None only with --redo, which then takes the last speech."""
    if text is None and file is None and redo is not None:
        return None
    return read_text(text, Path(file) if file else None, sys.stdin)
