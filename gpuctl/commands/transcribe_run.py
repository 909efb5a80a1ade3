"""One `gpuctl transcribe`: finds the service, listens to each recording, keeps the words."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gpuctl.commands.service_choice import place_of, target_name
from gpuctl.commands.transcribe_results import Result, say, show
from gpuctl.commands.transcribe_text import Display
from gpuctl.context import Context
from gpuctl.errors import GpuctlError, Interrupted, UsageError
from gpuctl.models import Json
from gpuctl.services import (
    audio_decoding,
    destinations,
    transcribing_files,
    transcript_keeping,
)
from gpuctl.services.destinations import Destination
from gpuctl.services.tapes import Tape
from gpuctl.services.transcribing_files import Ear, Sound
from gpuctl.services.transcribing_files import Options as Options
from gpuctl.services.transcribing_pace import Pace
from gpuctl.services.transcript_keeping import Kept
from gpuctl.services.transcripts import Span, Transcript
from gpuctl.services.ulids import new_ulid
from gpuctl.services.whisper_places import Place
from gpuctl.workloads import whisper

STDOUT = "-"


@dataclass(frozen=True, slots=True)
class Wish:
    """What the operator typed."""

    files: tuple[Path, ...]
    is_mic: bool
    is_raw: bool
    device: str | None
    options: Options
    format: str
    out: str | None
    on: str | None
    is_realtime: bool
    is_proxied: bool
    open: bool | None
    has_chosen_model: bool


def run(context: Context, wish: Wish) -> None:
    """Raises what keeps all of them from being heard; for one of several the others go on."""
    destination = _destination(context, wish)
    if context.is_dry_run:
        _show_plan(context, wish, destination)
        return
    sounds = [_sound(file) for file in wish.files] or [_live(wish)]
    if destination is not None:
        destinations.check(destination)
        _refuse_to_replace(context, wish, destination, sounds)
    with place_of(context, wish.on, is_proxied=wish.is_proxied) as place:
        ear = _ear(context, wish, place)
        results = [_heard(context, wish, ear, sound, destination) for sound in sounds]
    show(context, results, wish.format, wish.open)


def _destination(context: Context, wish: Wish) -> Destination | None:
    """None = the transcripts are printed. Raises UsageError."""
    if wish.out == STDOUT or (wish.out is None and not wish.files):
        return None
    folder = context.settings.path("whisper.output_dir")
    found = destinations.plan(wish.out, folder, tuple(whisper.FORMATS))
    if found.name is not None and len(wish.files) > 1:
        raise UsageError("several recordings do not fit one file", hint="--out FOLDER/")
    return found


def _sound(file: Path) -> Sound:
    return Sound(str(file), lambda: audio_decoding.of_file(file), file)


def _live(wish: Wish) -> Sound:
    if wish.is_mic:
        decoder = audio_decoding.of_microphone(wish.device)
        return Sound("microphone", lambda: decoder, is_live=True)
    stream = sys.stdin.buffer
    return Sound("stdin", lambda: audio_decoding.of_stdin(stream, is_raw=wish.is_raw))


def _refuse_to_replace(
    context: Context, wish: Wish, destination: Destination, sounds: list[Sound]
) -> None:
    """Asked before anything is listened to. Raises UsageError."""
    if destination.name is None:
        return
    path = destination.path(_stem(sounds[0]), wish.format)
    if path.exists() and not context.console.confirm(f"{path} exists. Replace it?"):
        raise UsageError("nothing was changed")


def _ear(context: Context, wish: Wish, place: Place) -> Ear:
    """Waits until the service takes clients, and asks it what it is."""
    settings = context.settings
    limit_s = settings.number("whisper.ready_limit_s")
    place.awake(context.clock, context.console, limit_s)
    status = _status(place)
    model = status.get("model")
    if wish.has_chosen_model and model is not None and model != wish.options.model:
        context.console.warn(
            f"{place.name} has loaded {model}, and uses that; for another: gpuctl config set "
            f"whisper.model {wish.options.model}, then gpuctl deploy whisper --replace"
        )
    pace = Pace(
        leg_limit_s=settings.number("whisper.reconnect_s"),
        reconnect_limit_s=settings.number("ssh.reconnect_limit_s"),
        is_realtime=wish.is_realtime,
    )
    return Ear(
        place,
        wish.options,
        transcribing_files.paced(pace, status),
        context.clock,
        context.console,
        limit_s,
    )


def _status(place: Place) -> Json:
    """What the service tells of itself; {} for a server that is not ours."""
    try:
        code, body = place.get("/status")
    except GpuctlError:
        return {}
    return body if code == 200 else {}


def _heard(
    context: Context, wish: Wish, ear: Ear, sound: Sound, destination: Destination | None
) -> Result:
    """Raises what the next recording would meet too: a service that is gone, Ctrl-C."""
    result = Result(sound.name)
    try:
        duration_s = audio_decoding.probe(sound.file).duration_s if sound.file else None
        result.kept = _listened(context, wish, ear, sound, destination, duration_s)
    except (audio_decoding.BadAudio, UsageError) as error:
        result.error = error
    except GpuctlError as error:
        if error.code != "not_found" or sound.file is None or sound.file.exists():
            raise
        result.error = error
    if result.error is not None and len(wish.files) <= 1:
        raise result.error
    if result.error is not None:
        context.console.warn(result.error.message)
    return result


def _listened(
    context: Context,
    wish: Wish,
    ear: Ear,
    sound: Sound,
    destination: Destination | None,
    duration_s: float | None,
) -> Kept:
    machine, clock = ear.place.machine, context.clock
    record = transcript_keeping.begun(
        new_ulid(),
        sound.name,
        ear.options,
        wish.format,
        machine,
        target=target_name(ear.place),
        now=clock.now(),
    )
    context.state.save_job(record)
    display = Display(context.console, sound.name, duration_s, record.price_usd_h, clock)
    try:
        transcript, is_cut = _transcript(ear, sound, display)
    except BaseException as error:
        transcript_keeping.failed(record, context.state, error, now=clock.now())
        raise
    finally:
        display.close()
    target = destination.path(_stem(sound), wish.format) if destination else None
    kept = transcript_keeping.keep(
        record, transcript, target, context.state, context.console, now=clock.now()
    )
    if is_cut:
        where = f"what was heard is in {kept.file}" if kept.file else transcript.text
        raise Interrupted(f"interrupted; {where}", hint=None, details={"file": str(kept.file)})
    say(context, kept)
    return kept


def _transcript(ear: Ear, sound: Sound, display: Display) -> tuple[Transcript, bool]:
    """What was heard, and whether Ctrl-C cut it off."""
    rest = transcribing_files.rest_of(ear, sound)
    if rest is not None and (whole := transcribing_files.at_once(ear, sound, rest)) is not None:
        return whole, False
    with transcribing_files.opened(sound) as source:
        tape = Tape(source, is_live=sound.is_live)
        transcriber = ear.stream(tape, display.show)
        try:
            with _ending_the_recording(source):
                return transcriber.run(), False
        except KeyboardInterrupt:
            transcriber.lost.append(Span(transcriber.done_s, None))
            return transcriber.finished(), True
        finally:
            tape.close()


@contextmanager
def _ending_the_recording(source: Iterator[bytes]) -> Iterator[None]:
    """For a microphone, Ctrl-C ends the recording and not the transcription; a second one does."""
    import signal  # noqa: PLC0415  only while something is recorded

    stop = getattr(source, "stop", None)
    if stop is None or not getattr(source, "is_recording", False):
        yield
        return
    before = signal.signal(signal.SIGINT, lambda *_: (stop(), signal.signal(signal.SIGINT, before)))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _stem(sound: Sound) -> str:
    return sound.file.stem if sound.file else sound.name


def _show_plan(context: Context, wish: Wish, destination: Destination | None) -> None:
    """--dry-run: what would be heard where; nothing is connected."""
    into = str(destination.folder / (destination.name or "")) if destination else "stdout"
    sources = list(map(str, wish.files)) or ["the microphone" if wish.is_mic else "stdin"]
    data = {
        "sources": sources,
        "options": wish.options.as_json(),
        "format": wish.format,
        "into": into,
        "on": wish.on,
    }
    where = wish.on or "the machine that runs whisper"
    text = f"would transcribe {', '.join(sources)} on {where}, as {wish.format} into {into}"
    context.console.result(data, text)
