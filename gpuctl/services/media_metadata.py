"""Puts a receipt into sound and film without touching a sample, and reads it back."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpuctl.errors import GpuctlError

if TYPE_CHECKING:
    from mutagen import FileType

_COMMENT = "GPUCTL_RECEIPT"  # Ogg and FLAC: a Vorbis comment
_ATOM = "----:com.gpuctl:receipt"  # MP4: a freeform atom
_FRAME = "TXXX:gpuctl"  # MP3 and WAV: an ID3 text frame


def embed(path: Path, receipt_json: str) -> None:
    """Rewrites the file with the receipt; one that is there is replaced. The file is whole at any
    moment. Raises GpuctlError when it is not a complete recording, or cannot be written."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part{path.suffix}")
    try:
        with _named(path):
            shutil.copyfile(path, part)
            _write(_opened(part, path), receipt_json)
            shutil.copymode(path, part)
            part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def read(path: Path) -> str | None:
    """The embedded receipt, None when there is none. Raises GpuctlError as `embed` does."""
    from mutagen.mp4 import MP4Tags  # noqa: PLC0415  only for what came home

    with _named(path):
        tags: Any = _opened(path, path).tags
    if not tags:
        return None
    if _is_id3(tags):
        frame = tags.get(_FRAME)
        return str(frame.text[0]) if frame else None
    if isinstance(tags, MP4Tags):
        return bytes(tags[_ATOM][0]).decode() if _ATOM in tags else None
    return str(tags[_COMMENT][0]) if _COMMENT in tags else None


def _write(file: FileType, receipt_json: str) -> None:
    from mutagen import id3, mp4  # noqa: PLC0415  only when something came home

    if file.tags is None:
        file.add_tags()
    tags: Any = file.tags
    untyped: Any = (id3.TXXX, mp4.MP4FreeForm)
    frame, atom = untyped
    if isinstance(file, mp4.MP4):
        tags[_ATOM] = [atom(receipt_json.encode(errors="backslashreplace"))]
    elif _is_id3(tags):
        tags.setall(_FRAME, [frame(encoding=3, desc="gpuctl", text=[_plain(receipt_json)])])
    else:
        tags[_COMMENT] = [_plain(receipt_json)]
    file.save()


def _opened(path: Path, shown: Path) -> FileType:
    import mutagen  # noqa: PLC0415  only when something came home

    found: FileType | None = mutagen.File(path)
    if found is None:
        raise GpuctlError(f"{shown} is not a recording that can carry a receipt")
    return found


def _is_id3(tags: object) -> bool:
    from mutagen.id3 import ID3  # noqa: PLC0415  loaded already

    return isinstance(tags, ID3)


def _plain(text: str) -> str:
    """A command line can carry lone surrogates, which no tag can."""
    return text.encode(errors="backslashreplace").decode()


@contextlib.contextmanager
def _named(path: Path) -> Iterator[None]:
    import mutagen  # noqa: PLC0415  only when something came home

    try:
        yield
    except mutagen.MutagenError as error:
        raise GpuctlError(f"{path} is not a complete recording: {error}") from None
    except OSError as error:
        raise GpuctlError(f"{path} cannot be written: {error.strerror}") from None
