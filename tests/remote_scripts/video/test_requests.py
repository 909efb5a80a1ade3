"""What a request may say: sizes, pictures, paths, graphs. Nothing here needs a server."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.remote_scripts.video.seed_layout import seed_graph

Json = dict[str, Any]
SIDES = st.integers(1, 20_000)


@given(SIDES, SIDES, st.sampled_from(["480p", "720p"]))
def test_any_pictures_size_becomes_one_that_the_model_can_do(
    width: int, height: int, area: str
) -> None:
    from video import geometry

    found = geometry.fitted((width, height), geometry.AREAS[area])
    for side in found:
        assert side % 16 == 0
        assert geometry.LEAST_SIDE <= side <= geometry.MOST_SIDE
    if 0.3 < width / height < 3.3:
        assert abs(found[0] / found[1] - width / height) / (width / height) < 0.06
        assert abs(found[0] * found[1] / geometry.AREAS[area] - 1) < 0.08


@given(st.integers(16, 8192), st.integers(16, 8192), st.integers(1, 10_000))
@settings(max_examples=60)
def test_any_size_and_length_in_a_request_is_valid_and_what_changed_is_told(
    width: int, height: int, length: int
) -> None:
    from video.request import parse

    request = parse({"image_path": "a.png", "width": width, "height": height, "length": length})
    assert request.width is not None
    assert request.height is not None
    assert request.frames is not None
    assert request.width % 16 == request.height % 16 == 0
    assert request.frames % 4 == 1
    changed = (request.width, request.height) != (width, height), request.frames != length
    assert len(request.notes) == sum(changed)
    again = parse(
        {
            "image_path": "a.png",
            "width": request.width,
            "height": request.height,
            "frames": request.frames,
        }
    )
    assert again.notes == (), "what is valid stays as it is"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("prompt", 7),
        ("seed", -1),
        ("seed", True),
        ("cfg", "high"),
        ("width", 4.5),
        ("length", 0),
        ("steps", 1000),
        ("lora_pairs", "x"),
        ("lora_pairs", [{"high_weight": 1}]),
        ("preset", "best"),
        ("workflow", "{broken"),
        ("workflow", {"1": {"inputs": {}}}),
        ("set", ["a"]),
        ("image_url", "https://also.example/x"),
    ],
)
def test_a_field_that_is_wrong_is_named(field: str, value: Any) -> None:
    from video.request import parse
    from worker.report import Failure

    with pytest.raises(Failure) as refused:
        parse({"image_path": "a.png", field: value})
    assert refused.value.code == "bad_input"
    assert refused.value.remedy


def test_a_request_without_an_image_or_with_half_a_size_is_refused() -> None:
    from video.request import parse
    from worker.report import Failure

    for given_ in ({}, {"end_image_path": "b.png"}, {"image_path": "a", "width": 480}):
        with pytest.raises(Failure):
            parse(given_)


def test_misspelt_fields_are_told_and_other_clients_spellings_are_not() -> None:
    from video.request import unknown_keys

    known = {
        "image_path": "a",
        "length": 81,
        "num_frames": 81,
        "vae_model_url": "x",
        "high_model": "y",
    }
    assert unknown_keys(known) == []
    assert unknown_keys({**known, "promt": "x"}) == ["promt"]


def _picture(path: Path, size: tuple[int, int], **save: Any) -> bytes:
    Image.new("RGB", size, (1, 2, 3)).save(path, **save)
    return path.read_bytes()


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_a_pictures_size_is_read_from_its_first_bytes(suffix: str, tmp_path: Path) -> None:
    from video.images import measured

    content = _picture(tmp_path / f"a{suffix}", (123, 45))
    assert measured(content) == (suffix, 123, 45)


def test_a_photograph_that_lies_on_its_side_is_measured_as_it_is_shown(tmp_path: Path) -> None:
    from video.images import measured

    exif = Image.Exif()
    exif[0x0112] = 6
    content = _picture(tmp_path / "a.jpg", (300, 200), exif=exif)
    assert measured(content) == (".jpg", 200, 300)
    lossless = _picture(tmp_path / "a.webp", (300, 200), lossless=True)
    assert measured(lossless) == (".webp", 300, 200)


@given(
    st.binary(max_size=200), st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF"])
)
def test_no_bytes_whatever_break_the_reading_of_a_picture(noise: bytes, head: bytes) -> None:
    from video.images import measured

    try:
        suffix, width, height = measured(head + noise)
    except (ValueError, IndexError, struct.error):
        return
    assert suffix in (".png", ".jpg", ".webp")
    assert width >= 0
    assert height >= 0


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "../outside.png",
        "inputs/../../outside.png",
        "/proc/self/environ",
        "link.png",
        "a\0b",
    ],
)
def test_a_path_outside_the_workspace_and_the_volume_is_not_read(
    path: str, workspace: Path
) -> None:
    from video import images
    from worker.report import Failure, JobContext, bind

    outside = workspace.parent / "outside.png"
    _picture(outside, (8, 8))
    (workspace / "link.png").symlink_to(outside)
    context = JobContext("j", workspace / "jobs/j", workspace)
    with bind(lambda kind, fields: None, context), pytest.raises(Failure) as refused:
        images.load(images.Source(path=path), "the image")
    assert refused.value.code == "bad_input"


def test_a_path_on_the_volume_may_be_absolute(
    workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from video import images
    from worker.report import JobContext, bind

    volume = tmp_path / "volume"
    volume.mkdir()
    monkeypatch.setenv("MODEL_VOLUME", str(volume))
    _picture(volume / "a.png", (9, 7))
    context = JobContext("j", workspace / "jobs/j", workspace)
    with bind(lambda kind, fields: None, context):
        found = images.load(images.Source(path=str(volume / "a.png")), "the image")
    assert (found.width, found.height) == (9, 7)


NATIVE = {
    "clip": "CLIPLoader", "vae": "VAELoader", "pos": "CLIPTextEncode", "neg": "CLIPTextEncode",
    "img": "LoadImage", "hi": "UNETLoader", "lo": "UNETLoader", "hi_l": "LoraLoaderModelOnly",
    "lo_l": "LoraLoaderModelOnly", "hi_m": "ModelSamplingSD3", "lo_m": "ModelSamplingSD3",
    "cond": "WanImageToVideo", "s1": "KSamplerAdvanced", "s2": "KSamplerAdvanced",
    "dec": "VAEDecode", "vid": "CreateVideo", "save": "SaveVideo",
}  # fmt: skip


def test_the_default_graphs_are_the_ones_that_a_real_server_took() -> None:
    """workloads.md §4.4, node by node."""
    from video.graphs import named

    for has_end in (False, True):
        workflow = named(None, has_end=has_end)
        wanted = dict(NATIVE)
        if has_end:
            wanted |= {"img2": "LoadImage", "cond": "WanFirstLastFrameToVideo"}
        assert {key: node["class_type"] for key, node in workflow.graph.items()} == wanted
        first, second = (workflow.graph[key]["inputs"] for key in ("s1", "s2"))
        assert (first["add_noise"], first["return_with_leftover_noise"]) == ("enable", "enable")
        assert (second["add_noise"], second["return_with_leftover_noise"]) == ("disable", "disable")
        assert first["end_at_step"] == second["start_at_step"] == 2
        assert second["latent_image"] == ["s1", 0]
        assert second["end_at_step"] == 10000
        assert workflow.graph["cond"]["inputs"].get("end_image") == (
            ["img2", 0] if has_end else None
        )
        assert workflow.graph["vid"]["inputs"]["fps"] == 16.0
        for targets in workflow.parameters.values():
            for target in targets:
                node, _, name = target.rpartition(".")
                assert name in workflow.graph[node]["inputs"], target


def test_the_seeds_files_are_known_by_their_nodes_whatever_they_are_called() -> None:
    from video import graphs

    plain = graphs.of("mine", seed_graph())
    both = graphs.of("mine", seed_graph(has_end=True))
    assert not plain.accepts("end_image")
    assert both.accepts("end_image")
    assert plain.parameters["steps"][0] == "569.value"
    assert not plain.map.get("is_guess")
    plain.put("steps", 12)
    assert "834" not in plain.graph, "the knob that does nothing is not invented"
    older = {**seed_graph(), "834": {"class_type": "BetaSamplingScheduler", "inputs": {"steps": 1}}}
    workflow = graphs.of("older", older)
    workflow.put("steps", 12)
    assert workflow.graph["834"]["inputs"]["steps"] == 12


def test_a_prompt_that_wanvideowrapper_would_read_as_commands_is_told() -> None:
    from video.building import build
    from video.request import parse

    request = parse({"image_path": "a", "prompt": "day | night", "workflow": seed_graph()})
    built = build(request, None, "j", has_end=False)
    assert any("'|'" in note for note in built.notes)


@pytest.mark.parametrize(
    ("given_", "note"),
    [
        ({"negative_prompt": "blurry"}, "no effect at cfg 1.0"),
        ({"preset": "fast", "cfg": 3.0}, "doubles the work"),
        ({"preset": "hybrid", "cfg": 4.0}, "the other keeps 1.0"),
    ],
)
def test_settings_that_do_not_do_what_one_may_think_are_told(given_: Json, note: str) -> None:
    from video.building import build
    from video.request import parse

    built = build(parse({"image_path": "a", **given_}), None, "j", has_end=False)
    assert any(note in said for said in built.notes), built.notes


@given(st.integers(1, 100), st.sampled_from(["fast", "hybrid", "quality"]))
@settings(max_examples=40)
def test_any_number_of_steps_is_split_between_both_experts(steps: int, preset: str) -> None:
    from video.building import build
    from video.request import parse

    request = parse({"image_path": "a", "steps": steps, "preset": preset})
    built = build(request, None, "j", has_end=False)
    first, second = (built.workflow.graph[key]["inputs"] for key in ("s1", "s2"))
    assert first["steps"] == second["steps"] == steps
    assert first["end_at_step"] == second["start_at_step"]
    assert 1 <= first["end_at_step"] <= max(1, steps - 1)


def test_a_node_is_also_found_by_its_title_and_a_value_keeps_its_type() -> None:
    from video.graphs import named

    workflow = named(None, has_end=False)
    workflow.set("Frames to video.fps", 24.0)
    workflow.set("s1.cfg", 2)
    assert workflow.graph["vid"]["inputs"]["fps"] == 24.0
    assert json.dumps(workflow.graph["s1"]["inputs"]["cfg"]) == "2"
