"""Speaks a request chunk by chunk with whatever synthesises, and joins what was said."""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from tts import chunking, encoding, joining, takes
from tts.config import Config
from tts.request import Request
from tts.voices import Voice
from worker import report
from worker.report import Failure

if TYPE_CHECKING:
    from tts.joining import Samples
else:
    Samples = Any

# The model is not safe for two threads (workloads.md §1.5).
_LOCK = threading.Lock()
_KANA, _HAN, _ARABIC = "[\u3040-\u30ff]", "[\u3400-\u9fff]", "[\u0600-\u06ff]"


@dataclass(frozen=True)
class Delivery:
    """How something is said. `emo_vector` is as the model wants it (emotions.tamed)."""

    voice: Voice
    lang: str
    speed: float = 1.0
    emotion_voice: Voice | None = None
    emo_vector: tuple[float, ...] | None = None
    emo_alpha: float = 1.0
    emo_text: str | None = None

    def identity(self) -> tuple[object, ...]:
        """What tells two deliveries apart; voices count by content."""
        emotion = self.emotion_voice.digest if self.emotion_voice else None
        return (
            self.voice.digest,
            self.lang,
            self.speed,
            emotion,
            self.emo_vector,
            self.emo_alpha,
            self.emo_text,
        )


class Synthesiser(Protocol):
    """What speaks: IndexTTS or its simulation. Gives mono samples from -1 to 1."""

    @property
    def name(self) -> str:
        """As it stands in the metrics."""

    @property
    def has_speed(self) -> bool:
        """Whether `say` heeds Delivery.speed itself."""

    def identity(self) -> str:
        """Everything about the model that changes what is heard."""

    def load(self) -> float:
        """Makes the model ready; seconds that took, 0 when it was."""

    def preface(self) -> tuple[Samples, int] | None:
        """Something that has to be heard before every speech; None for nothing."""

    def say(self, text: str, delivery: Delivery, seed: int) -> tuple[Samples, int]:
        """Samples and their rate. Raises report.Failure."""

    def facts(self) -> dict[str, Any]:
        """GPU, peak memory, versions."""


@dataclass(frozen=True)
class Part:
    """One chunk in the finished speech. `number` counts from 1, times are in seconds."""

    number: int
    text: str
    seed: int
    start_s: float
    end_s: float
    is_kept: bool


@dataclass(frozen=True)
class Speech:
    """What was said, and which chunk is where in it."""

    samples: Samples
    rate: int
    parts: tuple[Part, ...]

    @property
    def duration_s(self) -> float:
        return len(self.samples) / self.rate


def speak(request: Request, delivery: Delivery, synthesiser: Synthesiser, config: Config) -> Speech:
    """The whole request as sound; one at a time in this process. Tells every chunk."""
    with _LOCK:
        return _Speaking(request, delivery, synthesiser, config).run()


def language(text: str) -> str:
    """The language of the script it is written in; Latin letters are taken for English."""
    for code, script in (("JA", _KANA), ("ZH", _HAN), ("AR", _ARABIC)):
        if re.search(script, text):
            return code
    return "EN"


class _Speaking:
    def __init__(
        self, request: Request, delivery: Delivery, synthesiser: Synthesiser, config: Config
    ) -> None:
        self._request, self._delivery, self._config = request, delivery, config
        self._synthesiser = synthesiser
        self._rate = 0
        self._kept: set[int] = set()

    def run(self) -> Speech:
        chunks = self._request.chunks()
        spoken, endings, numbers = self._spoken(chunks)
        if not spoken:
            raise Failure("failed", "the model said nothing", "try another --seed or another voice")
        spoken = joining.level_matched(spoken, self._rate)
        if preface := self._synthesiser.preface():
            spoken, endings = [preface[0], *spoken], ["sentence", *endings]
            numbers = [0, *numbers]
        whole, spans = self._joined(spoken, endings)
        parts = [
            self._part(chunks, number, span)
            for number, span in zip(numbers, spans, strict=True)
            if number
        ]
        return Speech(whole, self._rate, tuple(parts))

    def _spoken(
        self, chunks: Sequence[chunking.Chunk]
    ) -> tuple[list[Samples], list[str], list[int]]:
        """Samples, what ends them, and numbers of the chunks in which something is heard."""
        spoken: list[Samples] = []
        endings: list[str] = []
        numbers: list[int] = []
        for number, chunk in enumerate(chunks, 1):
            report.progress("speak", number - 1, len(chunks))
            if not chunking.is_speakable(chunk.text):
                continue
            sound = joining.trimmed(self._take(number, chunk.text.strip()), self._rate)
            if len(sound):
                spoken.append(joining.faded(sound, self._rate))
                endings.append(chunk.ending)
                numbers.append(number)
            else:
                report.log(f"nothing is heard of chunk {number}: redo it", "warning")
        report.progress("speak", len(chunks), len(chunks))
        return spoken, endings, numbers

    def _take(self, number: int, text: str) -> Samples:
        seed = self._seed(number)
        name = takes.key(self._synthesiser.identity(), self._delivery.identity(), text, seed)
        found = takes.kept(self._config.output_dir, name)
        if found is not None:
            self._kept.add(number)
            samples, self._rate = found
            return samples
        samples, self._rate = self._synthesiser.say(text, self._delivery, seed)
        if not self._synthesiser.has_speed:
            samples = encoding.at_speed(samples, self._rate, self._delivery.speed)
        takes.keep(self._config.output_dir, name, samples, self._rate)
        return samples

    def _joined(
        self, spoken: list[Samples], endings: list[str]
    ) -> tuple[Samples, list[tuple[int, int]]]:
        request = self._request
        if not request.enable_crossfade:
            return joining.joined(spoken, endings, self._rate)
        overlap = self._rate * request.crossfade_ms // 1000
        return joining.crossfaded(spoken, overlap, request.crossfade_curve)

    def _part(self, chunks: Sequence[chunking.Chunk], number: int, span: tuple[int, int]) -> Part:
        return Part(
            number=number,
            text=chunks[number - 1].text.strip(),
            seed=self._seed(number),
            start_s=round(span[0] / self._rate, 3),
            end_s=round(span[1] / self._rate, 3),
            is_kept=number in self._kept,
        )

    def _seed(self, number: int) -> int:
        return self._request.redo.get(number, self._request.seed)
