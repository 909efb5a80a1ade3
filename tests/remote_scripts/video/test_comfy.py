"""The handler against old and new servers: what comes out, what goes wrong, what is then said."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.remote_scripts.video.conftest import Run
from tests.remote_scripts.video.seed_layout import seed_graph
from tests.support.comfyui_films import colour_at, probed
from tests.support.comfyui_server import ComfyServer, comfyui

pytestmark = pytest.mark.ffmpeg
Json = dict[str, Any]


def test_a_still_becomes_a_film_of_just_the_size_frames_and_rate(
    comfy: ComfyServer, run: Run, small: Json
) -> None:
    done = run(comfy, small)
    assert done.kind == "done", done.fields
    assert probed(done.film) == {
        "codec": "h264",
        "size": (128, 160),
        "frames": 9,
        "rate": "16/1",
    }
    steps = [row for row in done.of("progress") if row["stage"] == "denoise"]
    assert [(row["done"], row["total"]) for row in steps][-1] == (4, 4)
    metrics = done.fields["metrics"]
    assert metrics["preset"] == "fast"
    assert metrics["seed"] == 7
    assert any("lightx2v" in name for name in metrics["model"]["files"])


def test_it_begins_with_the_still_and_ends_with_the_end_image(
    comfy: ComfyServer, run: Run, small: Json
) -> None:
    done = run(comfy, {**small, "end_image_path": "inputs/end.png", "length": 17})
    assert done.fields["metrics"]["workflow"] == "wan22_flf2v"
    red, _, blue = colour_at(done.film, 0)
    assert red > blue + 80
    red, _, blue = colour_at(done.film, 16)
    assert blue > red + 80


def test_size_and_length_are_rounded_with_a_note(comfy: ComfyServer, run: Run, small: Json) -> None:
    done = run(comfy, {**small, "width": 135, "height": 150, "length": 12})
    assert probed(done.film)["size"] == (128, 144)
    assert probed(done.film)["frames"] == 13
    assert "multiples of 16" in done.logs()
    assert "4n+1" in done.logs()


def test_without_a_size_the_stills_own_proportion_is_kept(
    new_comfy: ComfyServer, run: Run, small: Json
) -> None:
    done = run(new_comfy, {**small, "width": None, "height": None, "length": 5})
    assert probed(done.film)["size"] == (544, 736), "300:400 at the area of 480p"


def test_the_presets_differ_in_steps_and_in_lightning(
    new_comfy: ComfyServer, run: Run, small: Json, workspace: Path
) -> None:
    found = {}
    for preset in ("fast", "hybrid", "quality"):
        done = run(new_comfy, {**small, "preset": preset, "length": 5}, preset)
        graph = json.loads((workspace / f"jobs/{preset}/graph.json").read_text())
        loras = [key for key, node in graph.items() if "Lora" in node["class_type"]]
        metrics = done.fields["metrics"]
        found[preset] = (metrics["steps"], metrics["split"], metrics["cfg"], len(loras))
    assert found == {"fast": (4, 2, 1.0, 2), "hybrid": (10, 5, 3.5, 1), "quality": (20, 10, 3.5, 0)}


def test_loras_of_the_operator_stand_behind_lightning_with_their_weights(
    new_comfy: ComfyServer, run: Run, small: Json, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = "wan2.2_i2v_lightx2v_4steps_lora_v1_high_noise.safetensors"
    low = "wan2.2_i2v_lightx2v_4steps_lora_v1_low_noise.safetensors"
    pair = {"high": known, "low": low, "high_weight": 0.8, "low_weight": 0.5}
    done = run(new_comfy, {**small, "lora_pairs": [pair, {"high": known, "high_weight": 0.25}]})
    assert done.kind == "done", done.fields
    graph = json.loads((workspace / "jobs/job/graph.json").read_text())
    chain, node = [], graph["hi_m"]["inputs"]["model"][0]
    while node != "hi":
        chain.append(graph[node]["inputs"]["strength_model"])
        node = graph[node]["inputs"]["model"][0]
    assert chain == [0.25, 0.8, 1.0]
    five = run(new_comfy, {**small, "lora_pairs": [pair] * 5}, "five")
    assert five.fields["code"] == "bad_input"
    assert "at most 4" in five.fields["remedy"]


def test_a_picture_may_come_as_base64(comfy: ComfyServer, run: Run, small: Json) -> None:
    content = (Path(__file__).parent / "pixel.png").read_bytes()
    given = {key: value for key, value in small.items() if key != "image_path"}
    for text in (
        base64.b64encode(content).decode(),
        "data:image/png;base64," + base64.encodebytes(content).decode(),
    ):
        assert run(comfy, {**given, "image_base64": text, "length": 5}).kind == "done"


def test_the_seeds_layout_runs_with_the_step_knobs_that_turn(
    comfy: ComfyServer, run: Run, small: Json, workspace: Path
) -> None:
    folder = workspace / "workflows"
    folder.mkdir()
    (folder / "new_Wan22_api.json").write_text(json.dumps(seed_graph()))
    (folder / "new_Wan22_flf2v_api.json").write_text(json.dumps(seed_graph(has_end=True)))
    given = {**small, "workflow": "new_Wan22", "steps": 6, "cfg": 1.5, "context_overlap": 32}
    done = run(comfy, {**given, "end_image_path": "inputs/end.png"})
    assert done.kind == "done", done.fields
    assert probed(done.film)["size"] == (128, 160)
    graph = json.loads((workspace / "jobs/job/graph.json").read_text())
    assert (graph["569"]["inputs"]["value"], graph["575"]["inputs"]["value"]) == (6, 3)
    assert "834" not in graph
    assert "829" not in graph
    assert graph["540"]["inputs"]["cfg"] == 1.5
    assert graph["498"]["inputs"]["context_overlap"] == 32
    assert graph["541"]["inputs"]["num_frames"] == 9
    steps = [row for row in done.of("progress") if row["stage"] == "denoise"]
    assert (steps[-1]["done"], steps[-1]["total"]) == (6, 6), "the knobs are connected"
    assert graph["617"]["inputs"]["image"] != graph["244"]["inputs"]["image"]


def test_a_workflow_of_ones_own_is_fed_where_its_inputs_are_plain(
    comfy: ComfyServer, run: Run, small: Json, workspace: Path
) -> None:
    from video.graphs import named

    ids = {key: str(number) for number, key in enumerate(named(None, has_end=False).graph, 3)}
    graph = {
        ids[key]: {
            "class_type": node["class_type"],
            "inputs": {
                name: [ids[value[0]], value[1]] if isinstance(value, list) else value
                for name, value in node["inputs"].items()
            },
        }
        for key, node in named(None, has_end=False).graph.items()
    }
    cond = ids["cond"]
    given = {**small, "workflow": graph, "set": {f"{ids['vid']}.fps": 8.0, f"{cond}.length": 5}}
    done = run(comfy, given)
    assert done.kind == "done", done.fields
    assert probed(done.film) == {"codec": "h264", "size": (128, 160), "frames": 5, "rate": "8/1"}
    sent = json.loads((workspace / "jobs/job/graph.json").read_text())
    assert sent[ids["pos"]]["inputs"]["text"] == "the tide comes in"
    assert sent[ids["neg"]]["inputs"]["text"] == ""
    assert sent[ids["s1"]]["inputs"]["noise_seed"] == 7
    wrong = run(comfy, {**given, "set": {f"{cond}.lenght": 5}}, "wrong")
    assert (wrong.kind, wrong.fields["code"]) == ("error", "bad_input")
    assert "length" in wrong.fields["remedy"]


def test_a_workflow_in_the_ui_format_is_refused_with_the_way_to_export_it(
    new_comfy: ComfyServer, run: Run, small: Json
) -> None:
    done = run(new_comfy, {**small, "workflow": {"nodes": [], "links": [], "version": 0.4}})
    assert done.fields["code"] == "bad_input"
    assert "Export (API)" in done.fields["remedy"]


def test_missing_nodes_are_named_with_where_they_come_from(
    tmp_path: Path, run: Run, small: Json
) -> None:
    with comfyui(
        tmp_path / "bare", "new", "--no-custom-nodes", "--model", "vae/other.safetensors"
    ) as bare:
        done = run(bare, {**small, "workflow": seed_graph()})
        assert done.fields["code"] == "unsupported"
        assert "WanVideoSampler" in done.fields["message"]
        assert "https://github.com/kijai/ComfyUI-WanVideoWrapper" in done.fields["remedy"]
        missing = run(bare, small, "models")
        assert missing.fields["code"] == "model_missing"
        assert "nearest: other.safetensors" in missing.fields["message"]
        assert "'Low-noise model' (lo): unet_name" in missing.fields["message"]
        assert "https://huggingface.co/Comfy-Org/" in missing.fields["message"]


def test_what_the_server_refuses_is_said_by_node_and_input(
    comfy: ComfyServer, run: Run, small: Json
) -> None:
    done = run(comfy, {**small, "set": {"s1.sampler_name": "eulr", "Frames to video.fps": 0.1}})
    assert done.fields["code"] == "bad_input"
    assert "node 'High-noise steps' (s1): sampler_name 'eulr'" in done.fields["message"]
    assert "nearest: euler" in done.fields["message"]
    assert "smaller than min of 1.0" in done.fields["message"]


def test_an_output_that_was_left_out_is_told_beside_the_film(
    comfy: ComfyServer, run: Run, small: Json
) -> None:
    from video.graphs import named

    graph = named(None, has_end=False).graph
    graph["second"] = {
        "class_type": "SaveVideo",
        "inputs": {**graph["save"]["inputs"], "codec": "av1"},
    }
    done = run(comfy, {**small, "workflow": graph})
    assert done.kind == "done", done.fields
    assert "left out: node 'SaveVideo' (second): codec 'av1'" in done.logs()


def test_the_gpus_memory_that_was_not_enough_is_named_so(
    comfy: ComfyServer, run: Run, small: Json
) -> None:
    comfy.fault(
        fail={
            "class_type": "KSamplerAdvanced",
            "message": "Allocation on device 0 would exceed allowed memory",
            "type": "torch.OutOfMemoryError",
        }
    )
    done = run(comfy, {**small, "seed": 8})
    assert done.fields["code"] == "oom"
    assert "'High-noise steps' (s1, KSamplerAdvanced)" in done.fields["message"]
    comfy.fault(fail={"class_type": "VAEDecode", "message": "bad luck", "type": "a.b.ValueError"})
    done = run(comfy, {**small, "seed": 9}, "other")
    assert done.fields["code"] == "failed"
    assert "ValueError in 'Decode'" in done.fields["message"]


def test_a_cancelled_job_ends_its_own_prompt_and_nobody_elses(
    comfy: ComfyServer, run: Run, small: Json
) -> None:
    from tests.remote_scripts.video.test_transcripts import film_graph

    comfy.fault(hold=True)
    _, other = comfy.call("POST", "/prompt", {"prompt": film_graph(5151)})
    is_cancelled = threading.Event()

    def cancel_when_queued(kind: str, fields: Json) -> None:
        if fields.get("stage") == "queue":
            is_cancelled.set()

    done = run(
        comfy, {**small, "seed": 11}, is_cancelled=is_cancelled.is_set, on_event=cancel_when_queued
    )
    assert done.fields["code"] == "cancelled"
    _, queue = comfy.call("GET", "/queue")
    assert [row[1] for row in queue["queue_running"]] == [other["prompt_id"]]
    assert queue["queue_pending"] == []
    comfy.fault(hold=None)


def test_a_running_prompt_is_ended_when_its_job_is_cancelled(
    comfy: ComfyServer, run: Run, small: Json
) -> None:
    is_cancelled = threading.Event()

    def cancel_in_the_first_node(kind: str, fields: Json) -> None:
        if fields.get("node"):
            is_cancelled.set()

    comfy.fault(hold=True)
    done = run(
        comfy,
        {**small, "seed": 12},
        is_cancelled=is_cancelled.is_set,
        on_event=cancel_in_the_first_node,
    )
    comfy.fault(hold=None)
    assert done.fields["code"] == "cancelled"
    _until(lambda: comfy.running() == [])


def test_a_dropped_socket_costs_nothing(comfy: ComfyServer, run: Run, small: Json) -> None:
    dropped: list[int] = []

    def drop_at_the_first_step(kind: str, fields: Json) -> None:
        if fields.get("stage") == "denoise" and not dropped:
            dropped.append(1)
            comfy.fault(drop=True)

    done = run(comfy, {**small, "seed": 13, "preset": "quality"}, on_event=drop_at_the_first_step)
    assert dropped
    assert done.kind == "done", done.fields


def test_a_server_that_was_restarted_in_the_middle_is_told_and_the_next_job_runs(
    tmp_path: Path, run: Run, small: Json
) -> None:
    server = ComfyServer(tmp_path / "fragile", "new")
    server.start(step_s=30)
    killed: list[int] = []

    def kill_at_the_first_step(kind: str, fields: Json) -> None:
        if fields.get("stage") == "denoise" and not killed:
            killed.append(1)
            server.kill()
            server.start()

    try:
        done = run(server, small, on_event=kill_at_the_first_step)
        assert done.fields["code"] == "worker_died"
        assert "restarted" in done.fields["message"]
        assert run(server, small, "again").kind == "done"
    finally:
        server.kill()


def test_the_prompt_of_an_engine_that_was_killed_is_ended_by_the_next_job(
    comfy: ComfyServer, run: Run, small: Json, workspace: Path
) -> None:
    from tests.remote_scripts.video.test_transcripts import film_graph

    comfy.fault(hold=True)
    _, left = comfy.call("POST", "/prompt", {"prompt": film_graph(6161)})
    (workspace / "run").mkdir()
    (workspace / "run/video.prompt").write_text(left["prompt_id"])
    _until(lambda: comfy.running() == [left["prompt_id"]])

    def go_on(kind: str, fields: Json) -> None:
        if fields.get("stage") == "queue" or fields.get("node"):
            comfy.fault(hold=None)

    assert run(comfy, {**small, "seed": 14}, on_event=go_on).kind == "done"
    _, history = comfy.call("GET", f"/history/{left['prompt_id']}")
    messages = [m[0] for m in history[left["prompt_id"]]["status"]["messages"]]
    assert "execution_interrupted" in messages


def test_a_film_that_comes_cut_off_is_fetched_again(
    comfy: ComfyServer, run: Run, small: Json
) -> None:
    comfy.fault(truncate=True)
    done = run(comfy, {**small, "seed": 15})
    assert done.kind == "done", done.fields
    assert "cut off" in done.logs()
    assert probed(done.film)["frames"] == 9


def test_the_same_job_twice_uses_what_the_server_remembers(
    comfy: ComfyServer, run: Run, small: Json
) -> None:
    first, second = run(comfy, small, "one"), run(comfy, small, "two")
    assert first.film.read_bytes() == second.film.read_bytes()
    assert not any(row["stage"] == "denoise" for row in second.of("progress"))


def test_a_full_disk_is_named_and_leaves_nothing_half_written(
    comfy: ComfyServer, run: Run, small: Json, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GPUCTL_SIM_DISK_FULL", "1")
    done = run(comfy, {**small, "seed": 16})
    assert done.fields["code"] == "disk_full"
    assert list((workspace / "jobs/job/outputs").iterdir()) == []


def test_a_server_that_does_not_answer_is_named_with_its_address(
    run: Run, small: Json, tmp_path: Path
) -> None:
    server = ComfyServer(tmp_path, "new")
    server.port = 9
    done = run(server, small)
    assert done.fields["code"] == "worker_died"
    assert "127.0.0.1:9" in done.fields["message"]


def _until(check: Callable[[], bool]) -> None:
    import time

    deadline = time.monotonic() + 10
    while not check():
        assert time.monotonic() < deadline
        time.sleep(0.02)
