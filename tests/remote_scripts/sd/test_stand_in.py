"""The stand-in holds to what is known of the real server (facts/workloads.md §3)."""

from __future__ import annotations

import base64
import io
import json
import threading
import time

from tests.support.a1111_server import StandIn, as_text, picture, stand_in

SMALL = {"width": 64, "height": 64, "steps": 1}


def test_the_defaults_are_those_of_the_api_not_of_the_page(shared_webui: StandIn) -> None:
    status, answer = shared_webui.api("POST", "/txt2img", {"width": 64, "height": 64})
    info = json.loads(answer["info"])
    assert status == 200
    assert (info["steps"], info["cfg_scale"], info["sampler_name"]) == (50, 7.0, "Euler")
    assert set(answer) == {"images", "parameters", "info"}
    assert not answer["images"][0].startswith("data:")


def test_unknown_keys_loras_and_checkpoints_are_dropped_in_silence(shared_webui: StandIn) -> None:
    body = {
        **SMALL,
        "prompt": "x <lora:nothing:1>",
        "guidance_scale": 3,
        "override_settings": {"sd_model_checkpoint": "nothing"},
    }
    status, answer = shared_webui.api("POST", "/txt2img", body)
    assert status == 200
    assert json.loads(answer["info"])["sd_model_name"] == "model"


def test_a_size_that_is_no_multiple_of_eight_is_cut(shared_webui: StandIn) -> None:
    _, answer = shared_webui.api("POST", "/txt2img", {**SMALL, "width": 71})
    assert json.loads(answer["info"])["width"] == 64


def test_errors_have_the_shapes_and_statuses_of_the_real_one(shared_webui: StandIn) -> None:
    def post(path: str, **body: object) -> tuple[int, object]:
        status, answer = shared_webui.api("POST", path, {**SMALL, **body})
        assert status == 422 or set(answer) == {"error", "detail", "body", "errors"}
        return status, answer["detail"]

    assert post("/txt2img", sampler_name="DPM++ 2M Karras") == (404, "Sampler not found")
    assert post("/img2img") == (404, "Init image not found")
    assert post("/img2img", init_images=[]) == (404, "Init image not found")
    assert post("/img2img", init_images=["zzz"]) == (500, "Invalid encoded image")
    assert post("/txt2img", script_name="no")[0] == 422
    assert post("/txt2img", alwayson_scripts={"no": {}})[0] == 422
    status, detail = post("/txt2img", steps="many")
    assert status == 422
    assert detail[0]["loc"] == ["body", "steps"]  # type: ignore[index]
    status, answer = shared_webui.api("POST", "/options", {"sd_model_checkpoint": "x"})
    assert (status, answer["errors"]) == (500, "model 'x' not found")
    assert shared_webui.api("GET", "/nothing") == (404, {"detail": "Not Found"})
    assert shared_webui.call("GET", "/internal/ping")[0] == 404, "--nowebui has no ping"


def test_the_later_version_knows_legacy_samplers_and_says_400() -> None:
    with stand_in("--flavour", "1.10") as server:
        body = {**SMALL, "sampler_name": "DPM++ 2M Karras"}
        assert server.api("POST", "/txt2img", body)[0] == 200
        assert server.api("POST", "/txt2img", {**SMALL, "sampler_name": "x"})[0] == 400


def test_one_request_at_a_time_and_progress_is_zero_when_idle(shared_webui: StandIn) -> None:
    assert shared_webui.api("GET", "/progress")[1]["progress"] == 0
    shared_webui.faults(step_s=0.05)
    spans: list[tuple[float, float]] = []

    def paint() -> None:
        began = time.monotonic()
        shared_webui.api("POST", "/txt2img", {**SMALL, "steps": 6})
        spans.append((began, time.monotonic()))

    threads = [threading.Thread(target=paint) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    shared_webui.faults()
    first, second = sorted(end for _, end in spans)
    assert second - first > 0.25, "the second waited for the first"


def test_a_switched_option_is_put_back_unless_it_is_asked_to_stay(shared_webui: StandIn) -> None:
    wanted = {"override_settings": {"CLIP_stop_at_last_layers": 3}}
    shared_webui.api("POST", "/txt2img", {**SMALL, **wanted})
    assert shared_webui.api("GET", "/options")[1]["CLIP_stop_at_last_layers"] == 1
    stay = {"override_settings_restore_afterwards": False}
    shared_webui.api("POST", "/txt2img", {**SMALL, **wanted, **stay})
    assert shared_webui.api("GET", "/options")[1]["CLIP_stop_at_last_layers"] == 3
    shared_webui.api("POST", "/options", {"CLIP_stop_at_last_layers": 1})


def test_the_pictures_are_pictures_and_say_that_they_are_simulated(shared_webui: StandIn) -> None:
    from PIL import Image

    _, answer = shared_webui.api("POST", "/txt2img", {**SMALL, "prompt": "a cat", "seed": 5})
    with Image.open(io.BytesIO(base64.b64decode(answer["images"][0]))) as image:
        assert image.size == (64, 64)
        assert "Simulated: True" in image.info["parameters"]
    body = {"image": as_text(base64.b64decode(answer["images"][0]))}
    assert shared_webui.api("POST", "/png-info", body)[1]["parameters"]["Seed"] == "5"
    assert shared_webui.api("POST", "/png-info", {"image": as_text(picture())})[1]["info"] == ""


def test_it_ends_with_the_one_who_started_it() -> None:
    with stand_in() as server:
        assert server.process.stdin
        server.process.stdin.close()
        assert server.process.wait(5) == 0
