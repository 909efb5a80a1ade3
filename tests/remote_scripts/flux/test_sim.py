"""The simulated engine goes the way of the real one: same request, events, artifacts, metrics."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageChops, ImageStat

from tests.support.flux_python import REPOSITORY


def test_a_picture_is_made_of_the_size_and_format_asked_for(simulate: Any) -> None:
    outcome = simulate(width=320, height=192, format="webp")
    (artifact,) = outcome.artifacts
    path = Path(artifact["path"])
    assert (path.name, artifact["media_type"]) == ("7-0.webp", "image/webp")
    assert artifact["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (artifact["width"], artifact["height"]) == (320, 192)
    with Image.open(path) as picture:
        assert (picture.format, picture.size) == ("WEBP", (320, 192))


@pytest.mark.parametrize("size", [(64, 64), (64, 512), (1024, 64), (208, 352), (3840, 2160)])
def test_any_size_can_be_painted(simulate: Any, size: tuple[int, int]) -> None:
    """3840×2160 takes about two seconds."""
    (artifact,) = simulate(width=size[0], height=size[1], format="jpg").artifacts
    with Image.open(artifact["path"]) as picture:
        assert picture.size == size


@pytest.mark.parametrize(
    "prompt",
    [
        "a lighthouse over the sea",
        "city at night in the rain",
        "desert dunes",
        "a cabin in the mountains, winter night",
        "cherry tree",
        "a cat",
        "birds",
        "a sailing boat",
        "🦊 狐 é ‘quotes’ $(rm -rf /) \n\n" + "word " * 3000,
        "x" * 10_000,
    ],
)
def test_every_kind_of_prompt_is_painted(simulate: Any, prompt: str) -> None:
    assert len(simulate(prompt=prompt, width=256, height=256).artifacts) == 1


def test_the_same_order_gives_the_same_bytes_and_every_part_of_it_counts(simulate: Any) -> None:
    first = simulate().digest
    assert simulate().digest == first
    changed = [
        simulate(seed=8),
        simulate(prompt="a blue fox in snow"),
        simulate(steps=30),
        simulate(guidance=1.5),
        simulate(model={"name": "flux-krea", "title": "FLUX.1 Krea [dev]"}),
    ]
    assert len({first, *(outcome.digest for outcome in changed)}) == 6


def test_another_process_paints_the_same_bytes(simulate: Any, tmp_path: Path) -> None:
    here = simulate(width=128, height=128).digest
    code = (
        "import sys; sys.path[:0] = sys.argv[1:3]\n"
        "from pathlib import Path\n"
        "from worker import report\n"
        "from flux.handler import handler\n"
        "from tests.remote_scripts.flux.conftest import an_input\n"
        "context = report.JobContext('j', Path(sys.argv[3]), Path(sys.argv[3]))\n"
        "def sink(kind, fields):\n"
        "    if kind == 'artifact': sys.stdout.write(fields['sha256'])\n"
        "with report.bind(sink, context): handler({'input': an_input()})\n"
    )
    paths = [str(REPOSITORY / "remote_scripts"), str(REPOSITORY), str(tmp_path)]
    there = subprocess.run(
        [sys.executable, "-c", code, *paths], capture_output=True, text=True, check=True
    )
    assert there.stdout == here


def test_steps_stages_and_metrics_are_those_of_a_real_job(simulate: Any) -> None:
    outcome = simulate(steps=3, count=2)
    once = ["encode", "denoise", "denoise", "denoise", "decode", "save"]
    assert outcome.stages() == once * 2
    assert "engine sim" in outcome.said()
    metrics = outcome.metrics
    assert metrics["engine"] == "sim"
    assert metrics["gpu"].startswith("simulated")
    assert (metrics["images"], metrics["seeds"], metrics["peak_vram_bytes"]) == (2, [7, 8], 0)
    assert metrics["model"] == "black-forest-labs/FLUX.1-dev"


def test_the_model_is_loaded_once_per_process(
    simulate: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Takes the 60 ms that loading is told to take."""
    monkeypatch.setenv("GPUCTL_SIM_LOAD_S", "0.06")
    model = {"repo": f"test/{time.monotonic_ns()}"}
    first, second = simulate(model=model), simulate(model=model)
    assert first.metrics["load_s"] >= 0.06
    assert first.stages("loading") == ["model"]
    assert second.metrics["load_s"] == 0
    assert second.stages("loading") == []


def test_a_cancelled_job_stops_within_a_step(
    simulate: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GPUCTL_SIM_STEP_S", "0.001")

    def after_two_steps(events: list[dict[str, Any]]) -> bool:
        return sum(event.get("stage") == "denoise" for event in events) >= 2

    outcome = simulate(steps=500, is_cancelled=after_two_steps)
    assert outcome.failure["code"] == "cancelled"
    assert outcome.stages().count("denoise") == 2
    assert outcome.artifacts == []


def test_strength_is_the_distance_from_the_initial_image(simulate: Any) -> None:
    Image.new("RGB", (300, 300), (250, 10, 10)).save(simulate.workspace / "red.png")
    near, far = (
        simulate(init_image="red.png", strength=strength, steps=10) for strength in (0.2, 0.9)
    )
    assert (near.stages().count("denoise"), far.stages().count("denoise")) == (2, 9)
    assert _redness(near) > _redness(far) + 40


@pytest.mark.parametrize("name", ["none.png", "text.png"])
def test_an_initial_image_that_is_none_is_a_bad_input(simulate: Any, name: str) -> None:
    (simulate.workspace / "text.png").write_text("not a picture")
    failure = simulate(init_image=name).failure
    assert failure["code"] == "bad_input"
    assert "initial image" in failure["message"]


@pytest.mark.parametrize("path", ["/etc/passwd", "../outside.png"])
def test_an_initial_image_outside_the_workspace_is_refused(simulate: Any, path: str) -> None:
    assert simulate(init_image=path).failure["code"] == "bad_input"


def test_a_misspelt_key_does_not_pass_unnoticed(simulate: Any) -> None:
    assert "not known and ignored: stesp" in simulate(stesp=4).said()


def test_the_band_sets_every_picture_apart(simulate: Any) -> None:
    """The foot of the picture is dark and carries light text, whatever is above it."""
    (artifact,) = simulate(prompt="snow", width=512, height=512).artifacts
    with Image.open(artifact["path"]) as picture:
        band = picture.convert("L").crop((0, 512 - 50, 512, 512))
    low, high = ImageStat.Stat(band).extrema[0]
    assert high - low > 120
    assert ImageStat.Stat(band).median[0] < 110


def test_high_quality_jpeg_keeps_colour_at_full_resolution(simulate: Any) -> None:
    for quality, layout in ((95, "4:4:4"), (80, "4:2:0")):
        (artifact,) = simulate(format="jpg", jpeg_quality=quality).artifacts
        with Image.open(artifact["path"]) as picture:
            assert _chroma(picture) == layout


def test_a_simulated_worker_installs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    from flux import handler

    monkeypatch.setenv("GPUCTL_ENGINE", "sim")
    assert handler.needs_venv({}) is False
    monkeypatch.delenv("GPUCTL_ENGINE")
    assert handler.needs_venv({}) is True  # gpuctl's own environment has no diffusers
    assert (Path(handler.__file__).parent / handler.REQUIREMENTS).is_file()


def test_the_handler_imports_nothing_but_the_standard_library() -> None:
    """The worker imports it with whatever Python the machine has."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import flux.handler\n"
        "ours = {'flux', 'worker'}\n"
        "roots = {name.partition('.')[0] for name in sys.modules} - ours\n"
        "sys.stdout.write(','.join(sorted(roots - sys.stdlib_module_names - {'__main__'})))\n"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, str(REPOSITORY / "remote_scripts")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == ""


def _redness(outcome: Any) -> float:
    with Image.open(outcome.artifacts[0]["path"]) as picture:
        red, green, _ = picture.convert("RGB").split()
        return float(ImageStat.Stat(ImageChops.subtract(red, green)).mean[0])


def _chroma(picture: Image.Image) -> str:
    from PIL import JpegImagePlugin

    return {0: "4:4:4", 1: "4:2:2", 2: "4:2:0"}[JpegImagePlugin.get_sampling(picture)]
