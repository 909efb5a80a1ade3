"""Settles on a voice, sends the order, and does with the recording what was asked."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from gpuctl.commands.results import show
from gpuctl.commands.tts_text import chunks_data, chunks_text
from gpuctl.commands.voices import CONSENT_FLAG, CONSENT_QUESTION
from gpuctl.context import Context
from gpuctl.errors import NotFound, UsageError
from gpuctl.services import speech_chunks, speech_orders, voice_files, voices
from gpuctl.services.delivery import Delivered
from gpuctl.services.generating import Order
from gpuctl.services.speech_orders import ON_VOLUME, Redo, Speaker
from gpuctl.workloads import tts

# Kept apart from voices: nobody is cloned from these.
_CLIPS = "emotions"


@dataclass(frozen=True, slots=True)
class Speaking:
    """What the operator typed; None where the configuration decides."""

    text: str | None
    voice: str | None
    consent: str | None
    emotions: tuple[str, ...]
    emotion_audio: str | None
    emotion_text: str | None
    emotion_strength: float | None
    lang: str | None
    speed: float | None
    seed: int | None
    format: str | None
    bitrate_kbps: int | None
    max_chars: int | None
    redo: int | None
    out: str | None


@dataclass(frozen=True, slots=True)
class Settled:
    """What happens around the order."""

    on: str | None
    detach: bool
    timings: str | None
    play: bool


def speak(context: Context, asked: Speaking, around: Settled) -> None:
    """One `gpuctl tts`: all that can be refused is refused before anything is started."""
    order = _redone(context, asked) if asked.redo is not None else _ordered(context, asked)
    if context.is_dry_run:
        _show_plan(context, order, around.on)
        return
    from gpuctl.commands.generation import generate  # noqa: PLC0415  not for a dry run

    delivered = generate(context, order, on=around.on, detach=around.detach)
    show(context, delivered, open_=False if around.play else None)
    _afterwards(context, delivered, around)


def _ordered(context: Context, asked: Speaking) -> Order:
    settings = context.settings
    text = asked.text or ""
    wanted = asked.voice or settings.text_or_none("tts.voice")
    if wanted is None:
        raise UsageError("no voice: there is none to speak with", hint="--voice me.wav, or a name")
    wishes = tts.Wishes(
        text=text,
        voice="",
        seed=0 if asked.seed is None else asked.seed,
        lang=asked.lang or settings.text("tts.lang"),
        speed=asked.speed or settings.number("tts.speed"),
        format=asked.format or settings.text("tts.format"),
        bitrate_kbps=asked.bitrate_kbps or settings.integer("tts.bitrate_kbps"),
        max_chars_per_chunk=asked.max_chars or settings.integer("tts.max_chars_per_chunk"),
        emotions=asked.emotions,
        emotion_strength=asked.emotion_strength,
        emotion_audio="" if asked.emotion_audio else None,
        emotion_text=asked.emotion_text,
    )
    # Whatever is wrong with the words is said before a question about consent is asked.
    tts.resolve(wishes)
    speaker = _speaker(context, wanted, asked.consent)
    name, clip = _emotion(context, asked.emotion_audio)
    return speech_orders.order(
        replace(wishes, voice=speaker.on_worker, emotion_audio=name),
        speaker,
        clip,
        asked.out,
        settings.path("tts.output_dir"),
    )


def _speaker(context: Context, wanted: str, consent: str | None) -> Speaker:
    """The voice, checked, converted and kept if it is new. Raises UsageError without consent."""
    library = context.voices
    if wanted.startswith(ON_VOLUME):
        return _on_volume(context, wanted.removeprefix(ON_VOLUME), consent)
    if known := library.find(wanted):
        return Speaker.of(known if context.is_dry_run else library.renewed(known))
    source = Path(wanted).expanduser()
    if not source.is_file():
        if voices.is_path(wanted):
            raise NotFound(f"there is no file {source}", hint="gpuctl voices list")
        raise voices.unknown(wanted, [voice.name for voice in library.all() if voice.name])
    if context.is_dry_run:
        for warning in voice_files.examine(source).warnings():
            context.console.warn(f"{source.name}: {warning}")
        return Speaker(f"{source} (it would be converted, and sent once)")
    note = consent or context.console.ask(CONSENT_QUESTION, flag=CONSENT_FLAG)
    made = library.add(None, source, note)
    for warning in made.warnings:
        context.console.warn(f"{source.name}: {warning}")
    return Speaker.of(made)


def _on_volume(context: Context, name: str, consent: str | None) -> Speaker:
    """Nothing is known here of a clip that lies there but who agreed to it."""
    agreed = context.voices.agreed_on_volume(name)
    if agreed is None and not context.is_dry_run:
        note = consent or context.console.ask(CONSENT_QUESTION, flag=CONSENT_FLAG)
        agreed = context.voices.agree_on_volume(name, note)
    return Speaker(name, consent=agreed)


def _emotion(context: Context, asked: str | None) -> tuple[str | None, Path | None]:
    if asked is None:
        return None, None
    if known := context.voices.find(asked):
        return Speaker.of(known).on_worker, known.path
    source = Path(asked).expanduser()
    if context.is_dry_run:
        voice_files.examine(source)
        return f"{source} (it would be converted, and sent once)", None
    return speech_orders.emotion_clip(source, _clips(context))


def _redone(context: Context, asked: Speaking) -> Order:
    others = {
        "--emotion": asked.emotions,
        "--emotion-audio": asked.emotion_audio,
        "--emotion-text": asked.emotion_text,
        "--emotion-strength": asked.emotion_strength,
        "--lang": asked.lang,
        "--speed": asked.speed,
        "--bitrate": asked.bitrate_kbps,
        "--max-chars": asked.max_chars,
    }
    if given := [flag for flag, value in others.items() if value]:
        raise UsageError(
            f"--redo keeps everything of the earlier speech, {given[0]} too",
            hint=f"leave {', '.join(given)} out",
        )
    voice = _speaker(context, asked.voice, asked.consent).on_worker if asked.voice else None
    order = speech_orders.redone(
        Redo(int(asked.redo or 0), asked.seed, asked.text, voice),
        context.state.jobs(500, tts.NAME),
        context.voices,
        _clips(context),
        asked.out,
        context.settings.path("tts.output_dir"),
    )
    if asked.format is not None:
        tts.check_format(asked.format)
        order.input["format"] = asked.format
    return order


def _clips(context: Context) -> Path:
    return context.data_folder / _CLIPS


def _show_plan(context: Context, order: Order, on: str | None) -> None:
    from gpuctl.commands.target_choice import configured_target  # noqa: PLC0415  for this alone

    chunks = speech_chunks.chunks(str(order.input["text"]), int(order.input["max_chars_per_chunk"]))
    target = configured_target(context, order.workload, on)
    rate = target.price_usd_h if target else None
    shown = {
        name: value for name, value in order.input.items() if name != "text" and value is not None
    }
    lines = [chunks_text(chunks), ""]
    lines += [f"{name}: {value}" for name, value in shown.items()]
    where = target.name if target else "an endpoint or machine that would be made first"
    lines.append(f"on: {where}" + (f" at ${rate:.2f}/h" if rate is not None else ""))
    lines.append(f"into: {order.destination.folder / (order.destination.name or '')}")
    data = {
        "input": order.input,
        "chunks": chunks_data(chunks),
        "machine": target.id if target else None,
        "price_usd_h": rate,
        "folder": str(order.destination.folder),
        "uploads": {name: str(path) for name, path in order.inputs.items()},
    }
    context.console.result(data, "\n".join(lines))


def _afterwards(context: Context, delivered: Delivered, around: Settled) -> None:
    record = delivered.record
    if not record.files:
        return
    recording = Path(record.files[0])
    if around.timings:
        from gpuctl.services import speech_timings  # noqa: PLC0415  only with --timings

        chunks = record.metrics.get("chunks") or []
        written = speech_timings.write(recording, chunks, around.timings)
        context.console.note(f"timings in {written}")
    if around.play:
        from gpuctl.services import speech_playing  # noqa: PLC0415  only with --play

        speech_playing.play(recording)
