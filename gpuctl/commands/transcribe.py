"""`gpuctl transcribe`: from recordings, a microphone or a pipe to text and subtitles."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gpuctl.commands.options import NoOpenOption, OnOption, OutOption
from gpuctl.context import Context
from gpuctl.errors import NotFound, UsageError
from gpuctl.workloads import whisper


def transcribe(
    ctx: typer.Context,
    files: Annotated[
        list[Path] | None, typer.Argument(metavar="FILE...", help="Anything ffmpeg reads.")
    ] = None,
    mic: Annotated[bool, typer.Option("--mic", help="The microphone, until Ctrl-C.")] = False,
    stdin: Annotated[bool, typer.Option("--stdin", help="What is piped in.")] = False,
    raw: Annotated[
        bool, typer.Option("--raw", help="--stdin brings 16 kHz mono samples of 16 bits.")
    ] = False,
    device: Annotated[
        str | None, typer.Option("--device", metavar="FORMAT:NAME", help="For --mic.")
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", metavar="NAME", help="Where the server lets choose.")
    ] = None,
    lang: Annotated[
        str | None, typer.Option("--lang", "--language", metavar="CODE", help="en, de, …")
    ] = None,
    translate: Annotated[bool, typer.Option("--translate", help="Into English.")] = False,
    prompt: Annotated[
        str | None, typer.Option("--prompt", metavar="TEXT", help="What it is about: names, style.")
    ] = None,
    hotwords: Annotated[
        str | None, typer.Option("--hotwords", metavar="WORDS", help="Words to expect.")
    ] = None,
    words: Annotated[bool, typer.Option("--words", help="The time of every word.")] = False,
    diarize: Annotated[
        bool, typer.Option("--diarize", help="Who speaks; needs the full image.")
    ] = False,
    format: Annotated[
        str | None, typer.Option("--format", "-f", metavar="txt|srt|vtt|json|tsv", help="")
    ] = None,
    realtime: Annotated[
        bool, typer.Option("--realtime", help="Send a file as fast as it was spoken.")
    ] = False,
    proxy: Annotated[
        bool, typer.Option("--proxy", help="Through RunPod's proxy instead of ssh.")
    ] = False,
    out: OutOption = None,
    open_: NoOpenOption = None,
    on: OnOption = None,
) -> None:
    """Turn speech into text or subtitles, while it is spoken or from recordings.

    Nothing is lost without being told: what could not be transcribed is named, and the exit code
    is not 0. Transcripts land in whisper.output_dir; `--out -` prints them instead.

    \b
    gpuctl transcribe talk.mp4 --format srt
    gpuctl transcribe *.ogg --lang de --words --format json --out texts/
    gpuctl transcribe --mic
    gpuctl transcribe talk.wav --on ws://10.0.0.5:9090
    """
    context: Context = ctx.obj
    settings = context.settings
    from gpuctl.commands import transcribe_run as run  # noqa: PLC0415  not for --help

    _check_source(files or [], mic, stdin, raw)
    wish = run.Wish(
        files=tuple(files or ()),
        is_mic=mic,
        is_raw=raw,
        device=device,
        options=run.Options(
            language=lang or settings.text_or_none("whisper.language"),
            task="translate" if translate else "transcribe",
            model=model or settings.text("whisper.model"),
            prompt=prompt,
            hotwords=hotwords,
            words=words,
            diarize=diarize,
        ),
        format=_format(format, out, settings.text("whisper.format")),
        out=out,
        on=on,
        is_realtime=realtime,
        is_proxied=proxy,
        open=open_,
        has_chosen_model=model is not None,
    )
    run.run(context, wish)


def _check_source(files: list[Path], mic: bool, stdin: bool, raw: bool) -> None:
    """Raises UsageError, and NotFound where nothing could be transcribed at all."""
    if bool(files) + mic + stdin != 1:
        raise UsageError("one of FILE…, --mic or --stdin", hint="gpuctl transcribe talk.mp4")
    if raw and not stdin:
        raise UsageError("--raw says what --stdin brings")
    if files and not any(file.exists() for file in files):
        raise NotFound(f"there is no file {files[0]}", hint="gpuctl transcribe talk.mp4")


def _format(asked: str | None, out: str | None, default: str) -> str:
    """--format, else what --out ends in, else the configured one. Raises UsageError."""
    suffix = (out or "").rpartition(".")[2].lower()
    found = asked or (suffix if suffix in whisper.FORMATS else default)
    if found not in whisper.FORMATS:
        raise UsageError(f"'{found}' is no format", hint=f"use {', '.join(whisper.FORMATS)}")
    if asked and suffix in whisper.FORMATS and suffix != asked:
        raise UsageError(f"--format {asked} and --out {out} disagree")
    return found
