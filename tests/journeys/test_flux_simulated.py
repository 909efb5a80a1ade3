"""`gpuctl --sim flux` from the first command to the picture, and back from its receipt."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from tests.journeys.conftest import Person


def test_the_first_command_rents_a_simulated_pod_and_brings_a_picture_home(person: Person) -> None:
    argv = ("flux", "a red fox in snow", "--quality", "--portrait", "--seed", "7")
    done = person.simulates(*argv)
    data = done.data
    with Image.open(data["file"]) as picture:
        assert picture.size == (768, 1024)
        picture.load()
    assert Path(data["file"]) == person.folder / "outputs" / "a-red-fox-in-snow-7.png"
    assert data["seed"] == 7
    assert data["engine"] == "sim"
    assert data["receipt"]["seed"] == 7
    assert data["timings"]["load_s"] > 0
    assert data["timings"]["inference_s"] > 0
    assert data["cost_usd"] > 0

    again = person.simulates(*argv).data
    assert again["machine"] == data["machine"], "the second picture uses the same pod"
    assert again["timings"]["load_s"] == 0, "the second picture loads nothing"
    assert Path(again["file"]).name == "a-red-fox-in-snow-7-2.png", "nothing is overwritten"
    assert _pixels(again["file"]) == _pixels(data["file"])


def test_a_receipt_makes_the_same_picture_again(person: Person) -> None:
    first = person.simulates("flux", "a lighthouse", "--fast", "--size", "512x384", "--seed", "3")
    file = Path(first.data["file"])
    sidecar = json.loads((file.parent / f"{file.name}.json").read_text())
    assert sidecar["prompts"]["user"] == "a lighthouse"
    (file.parent / f"{file.name}.json").unlink()
    again = person.simulates("replay", str(file), "--out", "again/")
    assert Path(again.data["file"]).parent.name == "again"
    assert _pixels(again.data["file"]) == _pixels(str(file))


def test_several_pictures_count_their_seeds_up(person: Person) -> None:
    data = person.simulates(
        "flux", "stars", "-n", "3", "--seed", "40", "--size", "128x128", "--out", "sky.webp"
    ).data
    names = [Path(file).name for file in data["files"]]
    assert names == ["sky-1.webp", "sky-2.webp", "sky-3.webp"]
    assert len({_pixels(file) for file in data["files"]}) == 3
    receipts = [json.loads(Path(f"{file}.json").read_text()) for file in data["files"]]
    assert [receipt["seed"] for receipt in receipts] == [40, 41, 42]


@pytest.mark.parametrize(
    "prompt",
    [
        'it\'s "quoted" and `ticked` and $(touch owned) ${HOME} ; rm -rf / | cat & \\',
        "two\nlines\tand a tab",
        "emoji 🦊❄️ and 日本語 and ÅÖ",
        "--not-an-option",
        "word " * 2000,
    ],
)
def test_the_prompt_arrives_as_it_was_typed(person: Person, prompt: str) -> None:
    data = person.types("--sim", "--json", "flux", "--size", "64x64", "--", prompt).data
    assert data["prompt"] == prompt.strip()
    (request,) = person.sim_folder.rglob("jobs/*/request.json")
    assert json.loads(request.read_text())["input"]["prompt"] == prompt.strip()
    assert not list(person.home.rglob("owned"))
    assert data["receipt"]["prompts"]["user"] == prompt.strip()


def test_a_prompt_from_stdin_and_from_a_file(person: Person) -> None:
    (person.folder / "prompt.txt").write_text("a harbour at night\n")
    piped = person.simulates("flux", "-", "--size", "64x64", typed="a quiet field\n")
    assert piped.data["prompt"] == "a quiet field"
    filed = person.simulates("flux", "--prompt-file", "prompt.txt", "--size", "64x64")
    assert filed.data["prompt"] == "a harbour at night"


def test_a_picture_starts_from_another_and_travels_once(person: Person) -> None:
    Image.new("RGB", (256, 256), "navy").save(person.folder / "still.png")
    argv = ("flux", "night", "--init", "still.png", "--strength", "0.4", "--size", "256x256")
    assert person.simulates(*argv).data["file"]
    (sent,) = person.sim_folder.rglob("workspace/inputs/*.png")
    written_at = sent.stat().st_mtime_ns
    assert person.simulates(*argv).data["file"]
    assert sent.stat().st_mtime_ns == written_at


def test_a_dry_run_shows_the_whole_plan_and_starts_nothing(person: Person) -> None:
    data = person.simulates("flux", "a lighthouse " * 60, "--dry-run", "--fast").data
    assert data["input"]["steps"] == 4
    assert data["input"]["model"]["name"] == "flux-schnell"
    assert data["meter"]["clip_tokens"] <= 77
    assert data["meter"]["clip_dropped"]
    assert not person.sim_folder.exists()


def test_a_pod_of_the_account_is_not_looked_for_in_the_simulator(person: Person) -> None:
    (person.folder / "config.env").write_text(
        "RUNPOD_POD_ID=abc123\nRUNPOD_HOST=203.0.113.7\nRUNPOD_PORT=22114\nRUNPOD_VOLUME_ID=vol1\n"
    )
    assert person.simulates("flux", "a harbour", "--size", "64x64").data["file"]


def _pixels(file: str) -> bytes:
    with Image.open(file) as picture:
        return picture.convert("RGB").tobytes()
