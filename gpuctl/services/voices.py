"""The voices of this person: clips by name, each with the note that says why it may be cloned."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Protocol

from gpuctl.errors import NotFound, UsageError
from gpuctl.models import Json
from gpuctl.services import voice_files

KIND = "voice"
# Notes on voices that lie on a worker's volume: all that is known of them here.
ON_VOLUME_KIND = "volume-voice"
_NAME = re.compile(r"[\w][\w.-]{0,59}")
# A file that was used without a name is remembered, so that its consent is asked for once.
_UNNAMED = "clip:"
_SOUNDS = (".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a", ".aac", ".aiff", ".webm", ".mp4")


class Memory(Protocol):
    """The part of State that voices need."""

    def keep(self, kind: str, key: str, record: Json) -> None: ...
    def kept(self, kind: str, key: str) -> Json | None: ...
    def all_kept(self, kind: str) -> list[Json]: ...
    def drop(self, kind: str, key: str) -> bool: ...


@dataclass(frozen=True, slots=True)
class Voice:
    """One voice. `file` is the converted clip, `digest` its sha256, `source_digest` that of what
    was given; `consent` is the operator's note, `added_at` RFC 3339. `name` None: used unnamed."""

    name: str | None
    file: str
    digest: str
    source: str
    source_digest: str
    duration_s: float
    rate: int
    consent: str
    added_at: str
    warnings: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        return self.name or Path(self.source).name

    @property
    def path(self) -> Path:
        return Path(self.file)

    def for_receipt(self) -> Json:
        """What a receipt says of it: nothing that leads into this computer."""
        return {
            "name": self.title,
            "sha256": self.digest,
            "consent": {"note": self.consent, "given_at": self.added_at},
        }


class Library:
    """Keeps records in the state file and converted clips in `folder`."""

    def __init__(self, memory: Memory, folder: Path, now: Callable[[], float]) -> None:
        self._memory, self._folder, self._now = memory, folder, now

    def all(self) -> list[Voice]:
        """Named voices by name, then clips that were used unnamed."""
        voices = [_voice(record) for record in self._memory.all_kept(KIND)]
        return sorted(voices, key=lambda voice: (voice.name is None, voice.title.lower()))

    def find(self, text: str) -> Voice | None:
        """The voice of that name, or what is known of the file of that path."""
        if record := self._memory.kept(KIND, text):
            return _voice(record)
        path = Path(text).expanduser()
        if not is_path(text) or not path.is_file():
            return None
        digest = voice_files.sha256(path)
        return next((voice for voice in self.all() if voice.source_digest == digest), None)

    def named(self, name: str) -> Voice:
        """Raises NotFound."""
        record = self._memory.kept(KIND, name)
        if record is None:
            raise unknown(name, [voice.name for voice in self.all() if voice.name])
        return _voice(record)

    def add(self, name: str | None, source: Path, consent: str, *, replaces: bool = False) -> Voice:
        """Checks, converts and keeps a clip. `name` None: for a file that is used as it is.

        Raises UsageError, NotFound, ValidationFailed, MissingDependency.
        """
        note = _note(consent)
        if name is not None:
            self._check_name(name, replaces=replaces)
        made = voice_files.convert(source, self._folder)
        voice = Voice(
            name=name,
            file=str(made.file),
            digest=made.digest,
            source=str(source.absolute()),
            source_digest=voice_files.sha256(source),
            duration_s=made.clip.duration_s,
            rate=made.clip.rate,
            consent=note,
            added_at=self._moment(),
            warnings=tuple(made.clip.warnings()),
        )
        self._memory.keep(KIND, name or _UNNAMED + voice.source_digest, asdict(voice))
        return voice

    def agreed_on_volume(self, name: str) -> Json | None:
        """The note on a voice of that name on workers' volumes: `note` and `given_at`."""
        return self._memory.kept(ON_VOLUME_KIND, name)

    def agree_on_volume(self, name: str, consent: str) -> Json:
        """Keeps a note on it. Raises UsageError."""
        given: Json = {"note": _note(consent), "given_at": self._moment()}
        self._memory.keep(ON_VOLUME_KIND, name, given)
        return given

    def remove(self, name: str) -> Voice:
        """Forgets the voice, and its clip unless another name has the same. Raises NotFound."""
        key = self._key(name)
        voice = _voice(self._memory.kept(KIND, key) or {})
        self._memory.drop(KIND, key)
        if all(other.file != voice.file for other in self.all()):
            voice.path.unlink(missing_ok=True)
        return voice

    def renewed(self, voice: Voice) -> Voice:
        """The voice with its file there: made again from its source if it was deleted.

        Raises NotFound when neither is there any more.
        """
        if voice.path.is_file():
            return voice
        source = Path(voice.source)
        if not source.is_file() or voice_files.sha256(source) != voice.source_digest:
            raise NotFound(
                f"the clip of the voice {voice.title} is gone",
                hint=f'gpuctl voices add {voice.title} FILE --replace --consent "…"',
            )
        made = voice_files.convert(source, self._folder)
        again = replace(voice, file=str(made.file), digest=made.digest)
        self._memory.keep(KIND, voice.name or _UNNAMED + voice.source_digest, asdict(again))
        return again

    def _moment(self) -> str:
        return datetime.fromtimestamp(self._now(), UTC).isoformat(timespec="seconds")

    def _key(self, name: str) -> str:
        if self._memory.kept(KIND, name) is not None:
            return name
        for voice in self.all():
            if voice.name is None and name in (voice.title, voice.source_digest[:12]):
                return _UNNAMED + voice.source_digest
        raise unknown(name, [voice.title for voice in self.all()])

    def _check_name(self, name: str, *, replaces: bool) -> None:
        if not _NAME.fullmatch(name) or is_path(name):
            raise UsageError(
                f"'{name}' cannot be the name of a voice",
                hint="letters, digits, dash and underscore",
            )
        if self._memory.kept(KIND, name) is not None and not replaces:
            raise UsageError(f"there is a voice {name} already", hint="another name, or --replace")


def _note(consent: str) -> str:
    note = " ".join(consent.split())
    if not note:
        raise UsageError("a voice needs a note on its consent", hint='--consent "my own voice"')
    return note


def is_path(text: str) -> bool:
    """Whether it is meant as a file: `me.wav`, `./me`, `~/voices/me.mp3`."""
    return "/" in text or text.startswith("~") or text.lower().endswith(_SOUNDS)


def unknown(name: str, known: list[str]) -> NotFound:
    near = get_close_matches(name, known, n=1, cutoff=0.5)
    meant = f"did you mean {near[0]}? " if near else ""
    return NotFound(
        f"there is no voice '{name}'",
        hint=f"{meant}gpuctl voices add {name} FILE.wav, or give a file to --voice",
    )


def _voice(record: Json) -> Voice:
    return Voice(**{**record, "warnings": tuple(record.get("warnings") or ())})
