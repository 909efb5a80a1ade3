"""`gpuctl sd` from a fresh home: an endpoint, a pod, pictures, refusals, grids, receipts."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from PIL import Image

from tests.journeys.conftest import Done, Person

SMALL = ("--size", "128x128", "--seed", "7")


def pixels(file: str | Path) -> bytes:
    with Image.open(file) as picture:
        return picture.convert("RGB").tobytes()


def text_of(file: str | Path) -> str:
    with Image.open(file) as picture:
        return str(picture.info["parameters"])


def sd(person: Person, *argv: str) -> Done:
    return person.simulates("sd", *argv)


def test_an_endpoint_paints_repaints_lists_refuses_and_makes_again(person: Person) -> None:
    assert person.simulates("deploy", "sd", "--serverless").code == 0
    first = sd(person, "txt2img", "a portrait, <lora:lcm:0.8>", "--lcm", "--out", "out.png").data
    assert first["file"].endswith("out.png")
    said = text_of(first["file"])
    assert said.startswith("a portrait, <lora:lcm:0.8>\n")
    assert "Steps: 8, Sampler: LCM" in said
    assert "CFG scale: 2.0" in said
    assert first["receipt"]["parameters"]["sampler_name"] == "LCM"

    winter = sd(person, "img2img", "out.png", "in winter", "--seed", "3").data
    with Image.open(winter["file"]) as picture:
        assert picture.size == (512, 512)
    assert pixels(winter["file"]) != pixels(first["file"])
    again = person.simulates("replay", winter["file"], "--out", "again/").data
    assert pixels(again["file"]) == pixels(winter["file"]), "the first picture travelled again"

    refused = sd(person, "txt2img", "a portrait, <lora:lmc:0.8>")
    assert refused.code == 3
    assert refused.error["message"] == "there is no LoRA 'lmc'"
    assert refused.error["hint"].startswith("did you mean lcm?")
    assert sd(person, "txt2img", "x", "--set", "stepz=3").code == 2

    names = [row["name"] for row in sd(person, "loras").data["loras"]]
    assert names == ["lcm", "style", "add_detail", "film_grain"]
    jobs = person.simulates("jobs", "list").data["jobs"]
    assert {"fetched", "failed"} <= {job["status"] for job in jobs}


def test_a_pod_paints_the_same_and_shows_all_that_the_webui_has(person: Person) -> None:
    for argv in (("build", "sd"), ("push", "sd")):
        assert person.simulates(*argv).code == 0
    pod = person.simulates("deploy", "sd").data["machine"]["name"]
    on = ("--on", pod)
    batch = sd(person, "txt2img", "a castle", "-n", "2", *SMALL, *on).data
    assert [Path(file).name for file in batch["files"]] == ["a-castle-7.png", "a-castle-8.png"]
    assert len({pixels(file) for file in batch["files"]}) == 2
    second = json.loads(Path(batch["files"][1] + ".json").read_text())
    assert second["seed"] == 8
    one = person.simulates("replay", batch["files"][1], "--out", "again.png", *on).data
    assert pixels(one["file"]) == pixels(batch["files"][1])

    changed = sd(person, "options", "set", "CLIP_stop_at_last_layers=2", *on).data
    assert changed["set"] == {"CLIP_stop_at_last_layers": 2}
    assert sd(person, "options").code == 0, "all of them, wherever one runs"
    now = sd(person, "options", "get", "CLIP_stop_at_last_layers", *on).data
    assert now["options"] == {"CLIP_stop_at_last_layers": 2}
    assert sd(person, "options", "get", "CLIP_stop_at_last_layer", *on).code == 3
    assert sd(person, "models", *on).data["current"].startswith("model.safetensors")
    samplers = sd(person, "samplers", *on).data
    assert "LCM" in [row["name"] for row in samplers["samplers"]]
    assert "Karras" in [row["label"] for row in samplers["schedulers"]]

    switched = sd(person, "txt2img", "x", "--model", "dreamshaper_8", *SMALL, *on).data
    assert switched["model"] == "dreamshaper_8"
    missing = sd(person, "txt2img", "x", "--model", "dreamshaper", *SMALL, *on)
    assert (missing.code, "dreamshaper_8" in missing.error["hint"]) == (3, True)

    larger = sd(person, "upscale", batch["files"][0], "--scale", "2", *on).data
    with Image.open(larger["file"]) as picture:
        assert picture.size == (256, 256)
    assert Path(larger["file"]).name == "a-castle-7-large.png"
    info = sd(person, "info", batch["files"][0]).data
    assert info["prompt"] == "a castle"
    assert info["parameters"]["Seed"] == "7"
    assert info["receipt"]["job"] == batch["job"]


def test_a_grid_leaves_a_labelled_sheet_and_a_receipt_for_each_picture(person: Person) -> None:
    grid = ("--grid", "cfg=2,7", "--grid", "steps=8,20")
    data = sd(person, "txt2img", "a castle", *SMALL, *grid, "--out", "g/").data
    assert (data["columns"], data["rows"]) == (["cfg 2", "cfg 7"], ["steps 8", "steps 20"])
    assert len(data["cells"]) == 4
    for cell in data["cells"]:
        receipt = json.loads(Path(cell["file"] + ".json").read_text())
        assert cell["column"] == f"cfg {receipt['parameters']['cfg_scale']:g}"
        assert cell["row"] == f"steps {receipt['parameters']['steps']}"
        assert receipt["seed"] == 7
    assert len({pixels(cell["file"]) for cell in data["cells"]}) == 4
    with Image.open(data["sheet"]) as sheet:
        assert sheet.width > 2 * 128
        assert sheet.height > 2 * 128
    assert Path(data["sheet"]).name == "a-castle-7-grid.png"
    unknown = sd(person, "txt2img", "x", "--grid", "sampler=Euler,Nothing", *SMALL, "--out", "h/")
    assert unknown.code == 1
    assert [cell["column"] for cell in unknown.error["details"]["cells"]] == ["sampler Euler"]
    assert Path(unknown.error["details"]["sheet"]).exists(), "what was painted is shown"


def test_a_dry_run_shows_the_job_and_the_chunks_and_starts_nothing(person: Person) -> None:
    plan = person.types(
        "--json", "--dry-run", "sd", "txt2img", "cat " * 80, "--negative", "dog", "--lcm", *SMALL
    ).data
    assert plan["input"]["prompt"].endswith("<lora:lcm:1>")
    assert plan["meter"]["prompt"]["chunks"] == [75, 5]
    assert plan["meter"]["negative"]["tokens"] == 1
    assert not (person.home / "s").exists() or not person.sim_folder.exists()
    real = person.types("--json", "sd", "txt2img", "a cat")
    assert (real.code, "gpuctl deploy sd" in real.error["hint"]) == (3, True)


def test_pictures_that_cannot_be_sent_are_refused_before_anything_is_started(
    person: Person,
) -> None:
    def refused(*argv: str) -> dict[str, Any]:
        done = sd(person, *argv)
        assert done.code in (2, 3)
        return done.error

    Image.new("1", (6000, 5000)).save(person.folder / "huge.png")
    assert "30.0 megapixels" in refused("img2img", "huge.png", "x")["message"]
    (person.folder / "text.png").write_text("no picture")
    assert "cannot be read" in refused("img2img", "text.png", "x")["message"]
    assert "no file" in refused("img2img", "none.png", "x")["message"]
    noise = Image.frombytes("RGB", (1700, 1700), os.urandom(1700 * 1700 * 3))
    noise.save(person.folder / "noise.png")
    for wrong in (("--cfg", "nan"), ("--grid", "cfg=1", "--detach"), ("--hires", "much")):
        refused("txt2img", "x", *wrong)
    assert not person.sim_folder.exists()
    # More than the queue carries: said before it is sent, with the way out.
    assert "s3.bucket" in refused("upscale", "noise.png")["hint"]
