"""Puts a receipt into a PNG, JPEG or WebP without touching a pixel, and reads it back."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from gpuctl.errors import GpuctlError
from gpuctl.services import image_containers as containers


class _Format(NamedTuple):
    name: str
    write: Callable[[bytes, str, str | None], bytes]
    read: Callable[[bytes], str | None]


_PNG = _Format("PNG", containers.png_with, containers.png_receipt)
_JPEG = _Format("JPEG", containers.jpeg_with, containers.jpeg_receipt)
_WEBP = _Format("WebP", containers.webp_with, containers.webp_receipt)


def embed(path: Path, receipt_json: str, parameters: str | None) -> None:
    """Rewrites the file with the receipt and the human line; one that is there is replaced.
    `parameters` None leaves the human line as the worker made it.

    PNG: iTXt `gpuctl` and tEXt `parameters`. JPEG and WebP: XMP `gpuctl:receipt` and EXIF
    UserComment. Atomic: the file is whole at any moment. Raises GpuctlError when it is not a
    complete picture, or cannot be written.
    """
    data, kind = _open(path)
    with _named(path, kind):
        changed = kind.write(data, receipt_json, parameters and parameters.replace("\0", ""))
    replace_atomically(path, changed)


def read(path: Path) -> str | None:
    """The embedded receipt, None when there is none. Raises GpuctlError as `embed` does."""
    data, kind = _open(path)
    with _named(path, kind):
        return kind.read(data)


def replace_atomically(path: Path, data: bytes) -> None:
    """Writes beside `path`, then renames; permissions stay. Raises GpuctlError."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_bytes(data)
        if path.exists():
            shutil.copymode(path, part)
        part.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise GpuctlError(f"{path} cannot be written: {error.strerror}") from None


def _open(path: Path) -> tuple[bytes, _Format]:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise GpuctlError(f"{path} cannot be read: {error.strerror}") from None
    if data.startswith(containers.PNG):
        return data, _PNG
    if data.startswith(containers.JPEG):
        return data, _JPEG
    if containers.is_webp(data):
        return data, _WEBP
    raise GpuctlError(f"{path} is not a PNG, JPEG or WebP picture")


@contextlib.contextmanager
def _named(path: Path, kind: _Format) -> Iterator[None]:
    try:
        yield
    except containers.Damaged as error:
        raise GpuctlError(f"{path} is not a complete {kind.name}: {error}") from None
