"""A receipt goes into a picture without changing a pixel, and other programs still read it."""

from __future__ import annotations

import contextlib
import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from gpuctl.errors import GpuctlError
from gpuctl.services import image_containers, image_metadata

RECEIPT = json.dumps({"prompt": 'a "fox" & <b>snow</b> – 狐 🦊\n]]>', "n": 1}, ensure_ascii=False)
LINE = "a fox in snow\nSteps: 20, Seed: 7"

# Name → how Pillow makes it. Every shape of the three containers that a worker can send.
SHAPES: dict[str, tuple[str, str, Mapping[str, Any]]] = {
    "png": ("a.png", "RGB", {}),
    "png with alpha": ("a.png", "RGBA", {}),
    "jpeg": ("a.jpg", "RGB", {"quality": 95}),
    "progressive jpeg": ("a.jpg", "RGB", {"quality": 80, "progressive": True}),
    "jpeg with profile": ("a.jpg", "RGB", {"icc_profile": b"p" * 70_000}),
    "lossy webp": ("a.webp", "RGB", {"quality": 80}),
    "lossy webp with alpha": ("a.webp", "RGBA", {"quality": 80}),
    "lossless webp": ("a.webp", "RGB", {"lossless": True}),
    "lossless webp with alpha": ("a.webp", "RGBA", {"lossless": True}),
    "extended webp": ("a.webp", "RGB", {"icc_profile": b"p" * 101}),
}


def a_picture(folder: Path, shape: str, size: tuple[int, int] = (67, 45)) -> Path:
    name, mode, options = SHAPES[shape]
    chance = random.Random(3)
    raw = chance.randbytes(size[0] * size[1] * len(mode))
    path = folder / name
    Image.frombytes(mode, size, raw).save(path, **options)
    return path


def pixels(path: Path) -> tuple[str, tuple[int, int], bytes]:
    with Image.open(path) as picture:
        picture.load()
        return picture.mode, picture.size, picture.tobytes()


@pytest.mark.parametrize("shape", SHAPES)
def test_the_receipt_comes_back_and_every_pixel_stays(tmp_path: Path, shape: str) -> None:
    path = a_picture(tmp_path, shape)
    before = pixels(path)
    assert image_metadata.read(path) is None
    image_metadata.embed(path, RECEIPT, LINE)
    assert image_metadata.read(path) == RECEIPT
    assert pixels(path) == before
    assert list(tmp_path.glob("*.*")) == [path]
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("shape", SHAPES)
def test_a_second_receipt_replaces_the_first(tmp_path: Path, shape: str) -> None:
    path = a_picture(tmp_path, shape)
    image_metadata.embed(path, RECEIPT, LINE)
    size = path.stat().st_size
    image_metadata.embed(path, '{"other":2}', "other")
    assert image_metadata.read(path) == '{"other":2}'
    image_metadata.embed(path, RECEIPT, LINE)
    assert path.stat().st_size == size


@pytest.mark.parametrize("shape", SHAPES)
def test_a_receipt_larger_than_a_jpeg_segment_is_kept_whole(tmp_path: Path, shape: str) -> None:
    path = a_picture(tmp_path, shape)
    before = pixels(path)
    long = json.dumps({"prompt": random.Random(1).randbytes(120_000).hex()})
    image_metadata.embed(path, long, "x" * 200_000)
    assert image_metadata.read(path) == long
    assert pixels(path) == before


@pytest.mark.parametrize("line", [LINE, "a 狐 🦊\nSteps: 4", "a café", "nul \0 and \udcff"])
def test_pillow_reads_the_line_where_picture_browsers_look_for_it(
    tmp_path: Path, line: str
) -> None:
    expected = line.replace("\0", "")
    for shape in ("jpeg", "lossy webp", "lossless webp with alpha"):
        path = a_picture(tmp_path, shape)
        image_metadata.embed(path, RECEIPT, line)
        with Image.open(path) as picture:
            exif = picture.getexif()
            comment = exif.get_ifd(0x8769)[0x9286]
            assert exif[0x0131] == "gpuctl"
            assert comment[:8] == b"UNICODE\0"
            assert comment[8:].decode("utf-16-be") == expected.replace("\udcff", "?")
    path = a_picture(tmp_path, "png")
    image_metadata.embed(path, RECEIPT, line)
    with Image.open(path) as picture:
        assert picture.info["parameters"] == expected.replace("\udcff", "\\udcff")
        assert picture.info["gpuctl"] == RECEIPT


@pytest.mark.parametrize("shape", ["jpeg", "lossy webp", "lossless webp with alpha"])
def test_the_xmp_packet_is_xml_that_others_can_parse(tmp_path: Path, shape: str) -> None:
    from xml.etree import ElementTree

    path = a_picture(tmp_path, shape)
    image_metadata.embed(path, RECEIPT, LINE)
    with Image.open(path) as picture:
        packet = picture.info["xmp"]
    root = ElementTree.fromstring(packet.decode())
    [found] = [node for node in root.iter() if node.tag.endswith("}receipt")]
    assert found.text == RECEIPT


def test_exif_that_was_there_before_is_kept(tmp_path: Path) -> None:
    for name in ("a.jpg", "a.webp"):
        path = tmp_path / name
        exif = Image.Exif()
        exif[0x010F] = "A Camera"
        Image.new("RGB", (8, 8)).save(path, exif=exif)
        image_metadata.embed(path, RECEIPT, LINE)
        with Image.open(path) as picture:
            assert picture.getexif()[0x010F] == "A Camera"
        assert image_metadata.read(path) == RECEIPT


def test_a_simple_webp_becomes_an_extended_one_with_its_real_size(tmp_path: Path) -> None:
    for shape, alpha in (("lossy webp", 0), ("lossless webp with alpha", 0x10)):
        path = a_picture(tmp_path, shape, size=(301, 2))
        image_metadata.embed(path, RECEIPT, LINE)
        header, *rest = image_containers.webp_parts(path.read_bytes())
        assert header.kind == b"VP8X"
        assert header.data[0] == 0x0C | alpha
        assert header.data[4:] == (300).to_bytes(3, "little") + (1).to_bytes(3, "little")
        assert [part.kind for part in rest[-2:]] == [b"EXIF", b"XMP "]


@pytest.mark.parametrize("shape", SHAPES)
def test_a_truncated_picture_is_refused_and_left_as_it_is(tmp_path: Path, shape: str) -> None:
    path = a_picture(tmp_path, shape)
    whole = path.read_bytes()
    for length in (13, 20, len(whole) // 2, len(whole) - 3):
        path.write_bytes(whole[:length])
        with pytest.raises(GpuctlError, match="is not a"):
            image_metadata.embed(path, RECEIPT, LINE)
        with pytest.raises(GpuctlError, match="is not a"):
            image_metadata.read(path)
        assert path.read_bytes() == whole[:length]


@pytest.mark.parametrize("data", [b"", b"GIF89a", b"<html>", b"RIFF\x04\0\0\0WAVE", b"\xff\xd8"])
def test_what_is_no_picture_is_named(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(data)
    with pytest.raises(GpuctlError, match=r"a\.png is not a PNG, JPEG or WebP picture"):
        image_metadata.read(path)


def test_any_damage_is_either_refused_or_harmless(tmp_path: Path) -> None:
    chance = random.Random(5)
    for shape in SHAPES:
        path = a_picture(tmp_path, shape, size=(5, 4))
        image_metadata.embed(path, RECEIPT, LINE)
        whole = bytearray(path.read_bytes())
        for _ in range(120):
            hurt = whole.copy()
            hurt[chance.randrange(len(hurt))] = chance.randrange(256)
            path.write_bytes(hurt)
            with contextlib.suppress(GpuctlError):
                image_metadata.read(path)
                image_metadata.embed(path, RECEIPT, LINE)
