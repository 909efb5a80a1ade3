"""What the handler promises of a picture, and what it says aloud where the WebUI is silent."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.remote_scripts.sd.conftest import Driver, Outcome
from tests.support.a1111_server import REMOTE_SCRIPTS, StandIn, as_text, picture, stand_in

EXAMPLES = sorted((REMOTE_SCRIPTS / "sd").glob("test_input*.json"))
SEEDS_EXAMPLES = (
    "test_input.json",
    "test_input_img2img.json",
    "test_input_loras.json",
    "test_input_options.json",
    "test_input_lora.json",
    "test_input_lora_img2img.json",
)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_each_example_of_the_seed_is_accepted_unchanged(path: Path, driver: Driver) -> None:
    given = json.loads(path.read_text())["input"]
    done = driver.run(**given)
    assert done.failure == {}
    response = done.result["response"]
    if given["api"] in ("txt2img", "img2img"):
        assert set(response) == {"images", "parameters", "info"}
        (image,) = response["images"]
        assert base64.b64decode(image) == done.files()[0]
        info = json.loads(response["info"])
        assert info["steps"] == given["steps"]
        assert [info["width"], info["height"]] == [512, 512]
        assert response["parameters"]["prompt"] == given["prompt"]


def test_the_examples_that_the_seed_names_are_there() -> None:
    assert set(SEEDS_EXAMPLES) <= {path.name for path in EXAMPLES}


def test_without_an_api_it_is_txt2img_as_before(driver: Driver) -> None:
    assert driver.run(prompt="a cat", steps=2, width=64, height=64).result["api"] == "txt2img"


def test_a_picture_keeps_its_embedded_parameters_byte_for_byte(driver: Driver) -> None:
    done = driver.paint(prompt="a portrait, <lora:lcm:0.8>", sampler_name="LCM", cfg_scale=2)
    (made,) = done.files()
    assert b"parameters\0a portrait, <lora:lcm:0.8>" in made
    assert b"Steps: 2, Sampler: LCM" in made
    (artifact,) = done.artifacts
    assert (artifact["seed"], artifact["index"], artifact["width"]) == (7, 0, 64)
    assert "response" not in done.result, "gpuctl gets files, not base64"
    assert done.result["infotexts"][0].startswith("a portrait")


def test_the_same_order_paints_the_same_picture_and_another_seed_another(driver: Driver) -> None:
    first, again, other = driver.paint(), driver.paint(), driver.paint(seed=8)
    assert first.files() == again.files() != other.files()


def test_a_batch_comes_without_its_grid_and_with_a_seed_each(driver: Driver) -> None:
    done = driver.paint(count=3)
    assert [artifact["seed"] for artifact in done.artifacts] == [7, 8, 9]
    assert done.result["images"] == 3
    outsider = driver.run(prompt="x", steps=2, n_iter=3, width=64, height=64, seed=7)
    assert len(outsider.result["response"]["images"]) == 4, "as the WebUI sent it: the grid first"
    assert len(outsider.artifacts) == 3


def test_progress_tells_the_steps_and_sends_a_preview_only_on_request(
    driver: Driver, shared_webui: StandIn
) -> None:
    shared_webui.faults(step_s=0.06)
    quiet = driver.paint(steps=20)
    shown = driver.paint(steps=20, preview=True)
    shared_webui.faults()
    steps = [event["done"] for event in quiet.progress("denoise")]
    assert steps == sorted(steps)
    assert 0 < steps[-1] <= 20
    assert all(event["total"] == 20 for event in quiet.progress("denoise"))
    assert not any("preview" in event for event in quiet.events)
    assert any("preview" in event for event in shown.progress("denoise"))


def test_a_cancellation_stops_the_webui_before_the_next_job(
    driver: Driver, shared_webui: StandIn
) -> None:
    shared_webui.faults(step_s=0.1)
    found: list[Outcome] = []
    worker = threading.Thread(target=lambda: found.append(driver.paint(steps=400)))
    worker.start()
    until(lambda: any(event.get("stage") == "denoise" for event in driver.events))
    driver.cancelled.set()
    worker.join(20)
    assert found[0].failure["code"] == "cancelled"
    assert found[0].artifacts == []
    assert shared_webui.api("GET", "/progress")[1]["state"]["job_count"] == 0
    shared_webui.faults()
    driver.cancelled.clear()
    assert driver.paint().artifacts


# What the WebUI keeps to itself.


def test_an_unknown_lora_is_refused_by_name_with_the_nearest(driver: Driver) -> None:
    refused = driver.paint(prompt="a portrait, <lora:lmc:0.8>").failure
    assert refused["code"] == "model_missing"
    assert refused["message"] == "there is no LoRA 'lmc'"
    assert refused["remedy"].startswith("did you mean lcm?")
    assert driver.paint(prompt="a portrait, <lora:filmGrain:0.8>").failure == {}, "by its alias"


def test_a_lora_in_the_negative_prompt_is_named_as_useless(driver: Driver) -> None:
    assert "does nothing" in driver.paint(negative_prompt="<lora:lcm:1>").said()


@pytest.mark.parametrize("tag", ["<lora::1>", "<lora:lcm:much>", "<lora:lcm:nan>", "<lora:lcm"])
def test_a_tag_that_the_webui_would_choke_on_is_refused(driver: Driver, tag: str) -> None:
    assert driver.paint(prompt=f"x {tag}").failure["code"] == "bad_input"


def test_an_unknown_checkpoint_in_override_settings_is_refused(driver: Driver) -> None:
    refused = driver.paint(override_settings={"sd_model_checkpoint": "dreamshaper"}).failure
    assert refused["code"] == "model_missing"
    assert "did you mean dreamshaper_8?" in refused["remedy"]


@pytest.mark.parametrize("name", ["dreamshaper_8", "dreamshaper_8.safetensors", "aff73c3d0a"])
def test_a_checkpoint_may_go_by_any_of_its_names_and_is_the_one_that_paints(
    driver: Driver, name: str
) -> None:
    done = driver.paint(override_settings={"sd_model_checkpoint": name})
    assert done.result["model"] == "dreamshaper_8"
    assert driver.paint().result["model"] == "model", "it was for that picture alone"


def test_an_unknown_vae_option_style_upscaler_and_script_are_refused(driver: Driver) -> None:
    codes = [
        driver.paint(override_settings={"sd_vae": "vae-ft"}).failure["code"],
        driver.paint(override_settings={"CLIP_stop_at_last_layer": 2}).failure["code"],
        driver.paint(styles=["cinematik"]).failure["code"],
        driver.paint(enable_hr=True, hr_upscaler="ESRGAN4x").failure["code"],
        driver.paint(script_name="nothing").failure["code"],
    ]
    assert codes == ["model_missing", "bad_input", "bad_input", "bad_input", "bad_input"]


def test_a_legacy_sampler_name_is_split_where_there_are_schedulers(driver: Driver) -> None:
    done = driver.paint(sampler_name="DPM++ 2M Karras")
    assert (done.result["sampler"], done.result["scheduler"]) == ("DPM++ 2M", "Karras")
    assert "DPM++ 2M Karras" in done.said()
    assert "did you mean Euler a?" in driver.paint(sampler_name="Eular a").failure["remedy"]
    assert "Karras" in driver.paint(sampler_name="Euler", scheduler="Karas").failure["remedy"]


def test_the_default_of_fifty_steps_is_said(driver: Driver) -> None:
    done = driver.run(prompt="x", width=64, height=64)
    assert done.result["steps"] == 50
    assert "steps is not given" in done.said()


@pytest.mark.parametrize(
    ("key", "value", "hint"),
    [
        ("num_inference_steps", 8, "did you mean steps?"),
        ("guidance_scale", 2, "did you mean cfg_scale?"),
        ("promt", "x", "did you mean prompt?"),
        ("zzz", 1, "leave it out"),
    ],
)
def test_a_key_that_the_webui_would_ignore_is_refused(
    driver: Driver, key: str, value: object, hint: str
) -> None:
    refused = driver.paint(**{key: value}).failure
    assert refused["code"] == "bad_input"
    assert refused["message"].startswith(f"{key} is not a key of txt2img")
    assert hint in refused["remedy"]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("steps", "many"),
        ("steps", float("nan")),
        ("cfg_scale", float("inf")),
        ("steps", 0),
        ("width", 513),
        ("width", 100_000),
        ("seed", True),
        ("styles", "cinematic"),
        ("enable_hr", "yes"),
        ("override_settings", []),
        ("prompt", 7),
        ("denoising_strength", 1.5),
        ("init_files", ["../../etc/passwd"]),
    ],
)
def test_a_value_that_cannot_be_meant_names_its_key(
    driver: Driver, key: str, value: object
) -> None:
    refused = driver.paint(**{key: value}).failure
    assert refused["code"] == "bad_input"
    assert key in refused["message"] or "workspace" in refused["message"]


def test_options_are_set_read_back_and_what_was_not_taken_is_named(driver: Driver) -> None:
    done = driver.run(api="setOptions", CLIP_stop_at_last_layers=2)
    assert done.result["response"] == {"set": {"CLIP_stop_at_last_layers": 2}}
    now = driver.run(api="getOptions").result["response"]["options"]
    assert now["CLIP_stop_at_last_layers"] == 2
    driver.run(api="setOptions", CLIP_stop_at_last_layers=1)
    dropped = driver.run(api="setOptions", outdir_samples="/tmp").failure
    assert dropped["message"] == "the WebUI did not take outdir_samples"
    unknown = driver.run(api="setOptions", sd_model_checkpoint="modell").failure
    assert (unknown["code"], "did you mean model?" in unknown["remedy"]) == ("model_missing", True)
    assert driver.run(api="setOptions", nothing=1).failure["code"] == "bad_input"
    assert driver.run(api="setOptions").failure["code"] == "bad_input"


def test_lists_progress_and_interrupt_answer_under_the_seeds_names_and_ours(
    driver: Driver,
) -> None:
    names = [row["name"] for row in driver.run(api="getLoras").result["response"]["loras"]]
    assert "lcm" in names
    for api in ("samplers", "schedulers", "models", "vaes", "upscalers", "options"):
        assert driver.run(api=api, caller="gpuctl").result["answer"][api]
    assert driver.run(api="progress").result["response"]["progress"] == 0
    assert driver.run(api="interrupt").failure == {}
    assert "known: txt2img" in driver.run(api="getLorem").failure["remedy"]


# Pictures that come with a job.


def test_img2img_from_base64_a_data_url_and_a_file_paint_the_same(driver: Driver) -> None:
    data = picture()
    (driver.workspace / "inputs").mkdir()
    (driver.workspace / "inputs/a.png").write_bytes(data)
    made = [
        driver.paint(api="img2img", **{key: [value]}).files()
        for key, value in (
            ("init_images", as_text(data)),
            ("init_images", f"data:image/png;base64,{as_text(data)}"),
            ("init_files", "inputs/a.png"),
        )
    ]
    assert made[0] == made[1] == made[2]
    assert made[0]


def test_a_mask_keeps_what_is_black(driver: Driver) -> None:
    import io

    from PIL import Image

    mask = Image.new("L", (256, 256))
    mask.paste(255, (128, 0, 256, 256))
    buffer = io.BytesIO()
    mask.save(buffer, format="PNG")
    first = picture(256, 256)
    done = driver.paint(
        api="img2img",
        init_images=[as_text(first)],
        mask=as_text(buffer.getvalue()),
        denoising_strength=1.0,
        prompt="a red hat",
        steps=20,
        width=256,
        height=256,
    )
    before = Image.open(io.BytesIO(first)).convert("RGB")
    after = Image.open(io.BytesIO(done.files()[0])).convert("RGB")
    assert after.getpixel((40, 60)) == before.getpixel((40, 60))
    assert after.getpixel((200, 60)) != before.getpixel((200, 60))


@pytest.mark.parametrize(
    ("image", "word"),
    [
        ("base64_encoded_image", "not base64"),
        ("AAAA", "not a picture"),
        ("", "not a picture"),
        (7, "not a picture"),
        ("http://127.0.0.1/x.png", "address"),
    ],
)
def test_what_is_no_picture_is_refused_before_the_webui_sees_it(
    driver: Driver, image: object, word: str
) -> None:
    refused = driver.paint(api="img2img", init_images=[image]).failure
    assert refused["code"] == "bad_input"
    assert word in refused["message"]


def test_a_picture_of_thirty_megapixels_is_refused_by_its_head_alone(driver: Driver) -> None:
    # Only the head says how large it is: the body is never decoded.
    data = bytearray(picture())
    data[16:24] = (6000).to_bytes(4, "big") + (5000).to_bytes(4, "big")
    refused = driver.paint(api="img2img", init_images=[as_text(bytes(data))]).failure
    assert "6000×5000" in refused["message"]
    assert "16.8 megapixels" in refused["remedy"]


def test_img2img_without_a_picture_is_refused(driver: Driver) -> None:
    assert "init_images is missing" in driver.paint(api="img2img").failure["message"]
    assert (
        driver.paint(api="img2img", init_files=["inputs/none.png"]).failure["code"] == "bad_input"
    )


def test_png_info_and_upscale_take_what_txt2img_made(driver: Driver) -> None:
    (made,) = driver.paint(prompt="a castle").files()
    info = driver.run(api="pngInfo", image=as_text(made), caller="gpuctl").result["answer"]
    assert info["parameters"]["Prompt"] == "a castle"
    (driver.workspace / "inputs").mkdir()
    (driver.workspace / "inputs/a.png").write_bytes(made)
    larger = driver.run(api="upscale", image_file="inputs/a.png", upscaling_resize=3)
    assert (larger.artifacts[0]["width"], larger.artifacts[0]["height"]) == (192, 192)
    assert larger.result["response"]["image"]
    assert (
        "ESRGAN_4x"
        in driver.run(api="upscale", image=as_text(made), upscaler_1="ESRGAN4x").failure["remedy"]
    )


# What breaks.


def test_a_full_gpu_and_a_picture_of_nans_have_names_and_remedies(
    driver: Driver, shared_webui: StandIn
) -> None:
    shared_webui.faults(oom_above_pixels=4096)
    full = driver.paint(width=128, height=128).failure
    shared_webui.faults(nan=True)
    nans = driver.paint().failure
    shared_webui.faults()
    assert (full["code"], "smaller size" in full["remedy"]) == ("oom", True)
    assert (nans["code"], "VAE" in nans["remedy"]) == ("failed", True)
    assert driver.paint().artifacts, "the WebUI goes on"


def test_a_webui_that_crashes_in_a_job_ends_the_job_by_name_and_at_once(
    against: Callable[[StandIn], Driver],
) -> None:
    with stand_in() as server:
        driver = against(server)
        server.faults(step_s=0.02, crash_at_step=3)
        began = time.monotonic()
        crashed = driver.paint(steps=300)
        assert crashed.failure["code"] == "worker_died"
        assert time.monotonic() - began < 5
        assert crashed.artifacts == []


def test_a_webui_that_never_answers_ends_the_job_at_its_deadline(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GPUCTL_SD_WEBUI_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("GPUCTL_SD_READY_S", "0.6")
    refused = driver.paint()
    assert refused.failure["message"].startswith("no WebUI answers at http://127.0.0.1:9")
    assert any(event.get("stage") == "webui" for event in refused.events)


def test_a_machine_without_a_webui_says_so_at_once(
    driver: Driver, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("GPUCTL_SD_WEBUI_URL")
    monkeypatch.setenv("WEBUI_ROOT", str(tmp_path / "nothing"))
    refused = driver.paint().failure
    assert refused["code"] == "unsupported"
    assert "this machine has no WebUI" in refused["message"]


def test_a_webui_with_a_password_is_let_in_with_it_alone(
    against: Callable[[StandIn], Driver], monkeypatch: pytest.MonkeyPatch
) -> None:
    with stand_in("--auth", "me:secret") as server:
        driver = against(server)
        assert "GPUCTL_SD_WEBUI_AUTH" in driver.paint().failure["remedy"]
        monkeypatch.setenv("GPUCTL_SD_WEBUI_AUTH", "me:secret")
        assert driver.paint().artifacts


def test_pictures_that_are_too_much_for_one_answer_are_files_instead(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sd import answers

    def outcome(limit: int) -> tuple[int, int]:
        monkeypatch.setattr(answers, "RESULT_LIMIT_BYTES", limit)
        done = driver.run(prompt="x", steps=20, width=64, height=64, seed=1)
        return len(done.result["response"]["images"]), len(done.artifacts)

    size = len(
        driver.run(prompt="x", steps=20, width=64, height=64, seed=1).result["response"]["images"][
            0
        ]
    )
    assert outcome(2 * size) == (1, 1)
    assert outcome(size) == (1, 0)
    assert outcome(size - 1) == (0, 1)


def until(claim: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 20
    while not claim():
        assert time.monotonic() < deadline, "never came true"
        time.sleep(0.01)
