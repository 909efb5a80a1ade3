"""The stand-in says what the real server said: each shape against the recorded messages."""

from __future__ import annotations

import json
import struct
import uuid
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import connect

from tests.support.comfyui_server import ComfyServer

pytestmark = pytest.mark.ffmpeg
Json = dict[str, Any]
RECORDED = json.loads(
    (Path(__file__).resolve().parents[2] / "data/comfyui/recorded.json").read_text()
)


def film_graph(seed: int = 0xFF, **save: Any) -> Json:
    """The graph that the real server was given (EmptyImage → CreateVideo → SaveVideo)."""
    return {
        "1": {
            "class_type": "EmptyImage",
            "inputs": {"width": 64, "height": 64, "batch_size": 5, "color": seed},
        },
        "2": {"class_type": "CreateVideo", "inputs": {"images": ["1", 0], "fps": 16.0}},
        "3": {
            "class_type": "SaveVideo",
            "inputs": {
                "video": ["2", 0],
                "filename_prefix": "video/x",
                "format": "mp4",
                "codec": "h264",
                **save,
            },
        },
    }


def submit(comfy: ComfyServer, graph: Json, **more: Any) -> tuple[int, Json]:
    return comfy.call("POST", "/prompt", {"prompt": graph, **more})


def watched(comfy: ComfyServer, graph: Json) -> tuple[str, list[Any]]:
    """The prompt's id and every message up to `executing null`."""
    client = uuid.uuid4().hex
    messages: list[Any] = []
    with connect(f"ws://{comfy.address}/ws?clientId={client}", proxy=None) as socket:
        messages.append(json.loads(socket.recv(timeout=5)))
        _, answer = submit(comfy, graph, client_id=client)
        while True:
            raw = socket.recv(timeout=15)
            messages.append(raw if isinstance(raw, bytes) else json.loads(raw))
            last = messages[-1]
            is_node = isinstance(last, dict) and last["type"] == "executing"
            if is_node and last["data"]["node"] is None:
                return answer["prompt_id"], messages


def test_a_run_says_what_was_recorded_in_the_order_that_was_recorded(comfy: ComfyServer) -> None:
    colour = int.from_bytes(uuid.uuid4().bytes[:3], "big")
    prompt_id, messages = watched(comfy, film_graph(colour))
    assert "sid" in messages[0]["data"], "the first message tells who one is"
    assert "queue_remaining" in messages[0]["data"]["status"]["exec_info"]
    kinds = list(dict.fromkeys(message["type"] for message in messages[:-1]))
    assert [*kinds, messages[-1]["type"]] == RECORDED["socket_order"]
    for message in messages:
        wanted = RECORDED["socket_fields"][message["type"]]
        assert set(wanted) <= set(message["data"]), message
    state = next(m for m in messages if m["type"] == "progress_state")["data"]["nodes"]
    assert set(next(iter(state.values()))) == set(RECORDED["progress_node"])
    _, history = comfy.call("GET", f"/history/{prompt_id}")
    entry = history[prompt_id]
    assert list(entry) == RECORDED["history"]
    assert list(entry["status"]) == RECORDED["status"]
    assert len(entry["prompt"]) == 5
    saved = entry["outputs"]["3"]
    assert saved["animated"] == RECORDED["saved_video"]["animated"]
    assert list(saved["images"][0]) == RECORDED["saved_video"]["images"]
    assert "videos" not in saved


def test_the_same_graph_again_is_cached_and_gives_the_same_file(comfy: ComfyServer) -> None:
    first, _ = watched(comfy, film_graph(1234))
    second, messages = watched(comfy, film_graph(1234))
    cached = next(m for m in messages if isinstance(m, dict) and m["type"] == "execution_cached")
    assert set(cached["data"]["nodes"]) == {"1", "2", "3"}
    assert [m["data"]["node"] for m in messages if m["type"] == "executed"] == ["3"]
    found = [
        comfy.call("GET", f"/history/{one}")[1][one]["outputs"]["3"] for one in (first, second)
    ]
    assert found[0] == found[1]


def test_an_unfinished_and_an_unknown_prompt_have_no_history(comfy: ComfyServer) -> None:
    assert comfy.call("GET", f"/history/{uuid.uuid4()}") == (200, {})


def _broken(node: str, **inputs: Any) -> Json:
    graph = film_graph()
    graph[node]["inputs"].update(inputs)
    return graph


def _loader(name: str) -> Json:
    graph = film_graph()
    graph["9"] = {"class_type": "LoadImage", "inputs": {"image": name}}
    graph["2"]["inputs"]["images"] = ["9", 0]
    return graph


GRAPHS: dict[str, Json] = {
    "required_input_missing": {
        **film_graph(),
        "2": {"class_type": "CreateVideo", "inputs": {"images": ["1", 0]}},
    },
    "value_not_in_list": _broken("3", codec="av1"),
    "value_smaller_than_min": _broken("2", fps=0.5),
    "value_bigger_than_max": _broken("1", width=99999),
    "invalid_input_type": _broken("1", width="wide"),
    "return_type_mismatch": _broken("3", video=["1", 0]),
    "bad_linked_input": _broken("2", images=["1"]),
    "custom_validation_failed": _loader("/etc/hostname"),
    "exception_during_inner_validation": _broken("2", images=["77", 0]),
}


@pytest.mark.parametrize("kind", GRAPHS)
def test_each_mistake_has_its_own_type(kind: str, comfy: ComfyServer) -> None:
    assert kind in RECORDED["node_error_types"]["both"]
    status, answer = submit(comfy, GRAPHS[kind])
    assert status == 400
    assert list(answer) == RECORDED["rejected"]
    assert set(answer["error"]) == set(RECORDED["error"])
    assert answer["error"]["type"] == "prompt_outputs_failed_validation"
    entries = answer["node_errors"].values()
    assert all(set(entry) == set(RECORDED["node_error"]) for entry in entries)
    assert any(error["type"] == kind for entry in entries for error in entry["errors"]), entries
    assert all(entry["dependent_outputs"] == ["3"] for entry in entries)


def test_a_circle_is_named_by_new_servers_alone(comfy: ComfyServer) -> None:
    graph = {**film_graph(), "2": {"class_type": "VAEDecode", "inputs": {"samples": ["2", 0]}}}
    graph["2"]["inputs"]["vae"] = ["1", 0]
    graph["3"]["inputs"]["video"] = ["4", 0]
    graph["4"] = {"class_type": "CreateVideo", "inputs": {"images": ["5", 0], "fps": 16.0}}
    graph["5"] = {
        "class_type": "ImageResizeKJv2",
        "inputs": {
            **{"image": ["5", 0], "width": 8, "height": 8, "upscale_method": "lanczos"},
            **{"keep_proportion": "crop", "pad_color": "0", "crop_position": "center"},
            "divisible_by": 2,
        },
    }
    status, answer = submit(comfy, graph)
    kinds = [error["type"] for row in answer["node_errors"].values() for error in row["errors"]]
    assert status == 400
    assert set(kinds) & set(RECORDED["node_error_types"][comfy.mode])


def test_what_is_wrong_with_the_whole_graph_stands_in_the_error(comfy: ComfyServer) -> None:
    unknown = {"1": {"class_type": "NoSuchNode", "inputs": {}}}
    status, answer = submit(comfy, unknown)
    kind = "missing_node_type" if comfy.mode == "new" else "invalid_prompt"
    assert (status, answer["error"]["type"], answer["node_errors"]) == (400, kind, {})
    status, answer = submit(comfy, {"1": film_graph()["1"]})
    assert (status, answer["error"]["type"]) == (400, "prompt_no_outputs")
    status, answer = comfy.call("POST", "/prompt", {"client_id": "x"})
    assert (status, answer["error"]["type"]) == (400, "no_prompt")
    status, text = comfy.call("POST", "/prompt", b"{not json")
    assert status == 500
    assert isinstance(text, str)


def test_a_graph_with_one_good_output_runs_and_tells_the_other_ones_errors(
    comfy: ComfyServer,
) -> None:
    graph = film_graph(77)
    graph["4"] = {
        "class_type": "SaveVideo",
        "inputs": {**graph["3"]["inputs"], "codec": "none of these"},
    }
    status, answer = submit(comfy, graph)
    assert status == 200
    assert list(answer) == RECORDED["submitted"]
    assert answer["node_errors"]["4"]["dependent_outputs"] == ["4"]


def test_ids_are_held_to_the_canonical_form_by_new_servers_alone(comfy: ComfyServer) -> None:
    upper = str(uuid.uuid4()).upper()
    status, answer = submit(comfy, film_graph(), prompt_id=upper)
    if comfy.mode == "old":
        assert (status, answer["prompt_id"]) == (200, upper)
    else:
        assert (status, answer["error"]["type"]) == (400, "invalid_prompt_id")


def test_an_upload_keeps_its_name_only_for_the_same_bytes(comfy: ComfyServer) -> None:
    from video.comfy_client import Comfy

    client = Comfy("127.0.0.1", comfy.port)
    name = f"{uuid.uuid4().hex}.png"
    assert client.upload(name, b"one") == name
    assert client.upload(name, b"one") == name
    assert client.upload(name, b"other") == name.replace(".png", " (1).png")


def test_a_file_comes_in_parts_where_parts_are_asked_for(comfy: ComfyServer) -> None:
    import urllib.request

    prompt_id, _ = watched(comfy, film_graph(4321))
    entry = comfy.call("GET", f"/history/{prompt_id}")[1][prompt_id]["outputs"]["3"]["images"][0]
    url = f"http://{comfy.address}/view?filename={entry['filename']}&subfolder={entry['subfolder']}&type=output"
    request = urllib.request.Request(url, headers={"Range": "bytes=4-7"})
    with urllib.request.urlopen(request) as answer:
        assert (answer.status, answer.read()) == (206, b"ftyp")
        assert answer.headers["Content-Type"] == "video/mp4"
    assert comfy.call("GET", "/view?filename=nothing.mp4&type=output")[0] == 404


def test_only_new_servers_have_the_jobs(comfy: ComfyServer) -> None:
    prompt_id, _ = watched(comfy, film_graph(99))
    status, answer = comfy.call("GET", "/api/jobs")
    if comfy.mode == "old":
        assert status == 404
        return
    assert set(answer["pagination"]) == set(RECORDED["jobs"]["pagination"])
    assert {row["status"] for row in answer["jobs"]} <= set(RECORDED["jobs"]["statuses"])
    assert comfy.call("GET", f"/api/jobs/{prompt_id}")[1]["status"] == "completed"
    assert comfy.call("GET", f"/api/jobs/{uuid.uuid4()}")[0] == 404
    assert comfy.call("POST", f"/api/jobs/{prompt_id}/cancel", {})[1] == {"cancelled": False}


def test_a_preview_is_a_binary_frame_of_type_one_with_a_jpeg(old_comfy: ComfyServer) -> None:
    from video.graphs import named

    graph = named(None, has_end=False).graph
    _, answer = old_comfy.call("GET", "/object_info/LoadImage")
    assert "image_upload" in answer["LoadImage"]["input"]["required"]["image"][1]
    from video.comfy_client import Comfy

    png = (Path(__file__).parent / "pixel.png").read_bytes()
    graph["img"]["inputs"]["image"] = Comfy("127.0.0.1", old_comfy.port).upload("pixel.png", png)
    graph["cond"]["inputs"] |= {"width": 64, "height": 64, "length": 5}
    graph["s1"]["inputs"]["noise_seed"] = int.from_bytes(uuid.uuid4().bytes[:4], "big")
    _, messages = watched(old_comfy, graph)
    previews = [message for message in messages if isinstance(message, bytes)]
    assert previews
    assert struct.unpack(">II", previews[0][:8]) == (1, 1)
    assert previews[0][8:10] == b"\xff\xd8"
    steps = [m["data"] for m in messages if isinstance(m, dict) and m["type"] == "progress"]
    assert [(step["node"], step["value"], step["max"]) for step in steps] == [
        ("s1", 1, 2),
        ("s1", 2, 2),
        ("s2", 1, 2),
        ("s2", 2, 2),
    ]
