"""Files around `gpuctl sd`: pictures in, contact sheets out, what a picture says of itself."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, PngImagePlugin

from gpuctl.errors import NotFound, UsageError
from gpuctl.services import contact_sheet, image_metadata, sd_inputs, sd_orders, sd_pictures
from gpuctl.services.contact_sheet import Sheet
from gpuctl.services.sd_inputs import Picture

COLOURS = {(0, 0): (200, 30, 30), (1, 0): (30, 200, 30), (0, 1): (30, 30, 200)}


def painted(path: Path, size: tuple[int, int] = (96, 64), colour: Any = (9, 9, 9)) -> Path:
    Image.new("RGB", size, colour).save(path)
    return path


def test_a_sheet_shows_each_picture_in_its_place_under_its_labels(tmp_path: Path) -> None:
    files = {
        place: painted(tmp_path / f"{place[0]}{place[1]}.png", colour=colour)
        for place, colour in COLOURS.items()
    }
    sheet = Sheet("a castle · seed 5", ["cfg 2", "cfg 4"], ["steps 8", "steps 20"], files)
    size = contact_sheet.write(sheet, tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as drawn:
        assert drawn.size == size
        right, bottom = size
        seen = {
            (0, 0): drawn.getpixel((right - 96 - 60, bottom - 64 - 40)),
            (1, 0): drawn.getpixel((right - 50, bottom - 64 - 40)),
            (0, 1): drawn.getpixel((right - 96 - 60, bottom - 30)),
        }
        assert seen == COLOURS
        # The fourth cell says that there is none; above and beside the pictures stand labels.
        gap = drawn.crop((right - 98, bottom - 66, right, bottom))
        assert (120, 124, 134) in {colour for _, colour in gap.getcolors(10_000) or ()}
        labels = drawn.crop((0, 0, right, bottom - 2 * 64 - 12))
        assert len(labels.getcolors(10_000) or ()) > 5
    assert not list(tmp_path.glob(".*part"))


def test_a_sheet_of_large_pictures_stays_openable(tmp_path: Path) -> None:
    big = painted(tmp_path / "big.png", (3000, 2000))
    pictures = {(column, 0): big for column in range(6)}
    drawn = contact_sheet.draw(Sheet("x", [f"cfg {n}" for n in range(6)], [""], pictures))
    assert max(drawn.size) <= contact_sheet.MAX_SIDE


def test_labels_that_are_too_long_are_cut_not_overlapping(tmp_path: Path) -> None:
    small = painted(tmp_path / "small.png", (64, 64))
    names = ["sampler DPM++ 2M SDE Heun Exponential", "sampler LCM"]
    rows = ["model a-model-with-a-name-that-is-very-long-indeed"]
    drawn = contact_sheet.draw(Sheet("t" * 500, names, rows, {(0, 0): small, (1, 0): small}))
    assert drawn.width < 400


def test_a_picture_that_starts_a_job_is_measured_upright_and_named_by_content(
    tmp_path: Path,
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (300, 200)).save(tmp_path / "turned.jpg", exif=exif)
    inputs: dict[str, Path] = {}
    found = sd_inputs.measured(str(tmp_path / "turned.jpg"), "the picture")
    assert (found.width, found.height) == (200, 300)
    name = sd_orders.named(found.path, inputs)
    assert inputs == {name: tmp_path / "turned.jpg"}
    assert name.startswith("inputs/")


def test_what_is_no_picture_or_too_large_is_refused_before_it_is_sent(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("no picture")
    with pytest.raises(UsageError, match="cannot be read"):
        sd_inputs.measured(str(tmp_path / "a.png"), "the picture")
    with pytest.raises(NotFound):
        sd_inputs.measured(str(tmp_path / "none.png"), "the picture")
    Image.new("1", (6000, 5000)).save(tmp_path / "huge.png")
    with pytest.raises(UsageError, match=r"30\.0 megapixels"):
        sd_inputs.measured(str(tmp_path / "huge.png"), "the picture")


@pytest.mark.parametrize(
    ("size", "wanted"),
    [((512, 512), (512, 512)), ((100, 50), (96, 64)), ((4000, 3000), (1176, 880))],
)
def test_a_picture_keeps_its_shape_at_a_size_the_model_can_paint(
    size: tuple[int, int], wanted: tuple[int, int]
) -> None:
    assert sd_inputs.fitting(Picture(Path("x"), *size)) == wanted


def test_values_of_set_are_what_they_look_like() -> None:
    found = sd_orders.pairs(["tiling=true", "eta=0.5", 'styles=["a"]', "x=plain=text"], "--set")
    assert found == {"tiling": True, "eta": 0.5, "styles": ["a"], "x": "plain=text"}
    for wrong in ("tiling", "=1", "eta=NaN"):
        with pytest.raises(UsageError):
            sd_orders.pairs([wrong], "--set")


def test_a_picture_says_how_it_was_made_whatever_its_format(tmp_path: Path) -> None:
    text = "a cät\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 9, Size: 512x512"
    note = PngImagePlugin.PngInfo()
    note.add_itxt("parameters", text)
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png", pnginfo=note)
    found = sd_pictures.read(tmp_path / "a.png")
    assert found.text == text
    assert found.receipt is None
    assert sd_pictures.command_line(found.infotext) == (
        "gpuctl sd txt2img 'a cät' --size 512x512 --steps 20 --cfg 7 --sampler 'Euler a' --seed 9"
    )
    for suffix in ("jpg", "webp"):
        path = painted(tmp_path / f"b.{suffix}")
        image_metadata.embed(path, "{}", text)
        assert sd_pictures._parameters(path) == text


def test_a_picture_that_says_nothing_is_not_found_and_a_text_is_no_picture(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="says nothing"):
        sd_pictures.read(painted(tmp_path / "plain.png"))
    (tmp_path / "b.png").write_text("text")
    with pytest.raises(UsageError):
        sd_pictures.read(tmp_path / "b.png")


def test_a_large_photograph_travels_at_the_size_it_is_painted_at(tmp_path: Path) -> None:
    noise = Image.frombytes("RGB", (1500, 1000), random.Random(7).randbytes(4_500_000))
    noise.save(tmp_path / "photo.png")
    photo = sd_inputs.measured(str(tmp_path / "photo.png"), "the picture")
    sent = sd_inputs.to_send(photo, (768, 512), tmp_path / "cache")
    assert sent.stat().st_size < 2_000_000
    with Image.open(sent) as smaller:
        assert smaller.size == (768, 512)
    assert sd_inputs.to_send(photo, (768, 512), tmp_path / "cache") == sent, "made once"
    assert sd_inputs.to_send(photo, (3000, 2000), tmp_path / "cache") == photo.path
    small = sd_inputs.measured(str(painted(tmp_path / "small.png")), "the picture")
    assert sd_inputs.to_send(small, (8, 8), tmp_path / "cache") == small.path
