"""A real FluxPipeline with tiny random weights, through the handler, on the CPU."""

from __future__ import annotations

import pytest
from PIL import Image

from tests.remote_scripts.flux.conftest import Driver
from tests.remote_scripts.flux.hub import COMMIT, Hub

pytestmark = pytest.mark.flux


def test_a_picture_is_made_and_every_step_is_told(driver: Driver) -> None:
    outcome = driver.run(steps=5)
    (artifact,) = outcome.artifacts
    with Image.open(artifact["path"]) as picture:
        assert (picture.format, picture.size) == ("PNG", (64, 64))
    assert artifact["name"] == "7-0.png"
    assert (artifact["seed"], artifact["index"]) == (7, 0)
    steps = [event for event in outcome.events if event.get("stage") == "denoise"]
    assert [(step["done"], step["total"]) for step in steps] == [(n, 5) for n in range(1, 6)]
    assert outcome.stages() == ["encode", "encode", *["denoise"] * 5, "decode", "save"]


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(driver: Driver) -> None:
    first, again, other = driver.run(seed=7), driver.run(seed=7), driver.run(seed=8)
    assert first.digest == again.digest
    assert first.digest != other.digest


def test_a_series_counts_its_seeds_up_and_each_can_be_made_alone(driver: Driver) -> None:
    series = driver.run(seed=20, count=3)
    assert [event["name"] for event in series.artifacts] == ["20-0.png", "21-1.png", "22-2.png"]
    assert series.metrics["seeds"] == [20, 21, 22]
    assert series.artifacts[2]["sha256"] == driver.run(seed=22).digest


def test_the_second_job_loads_nothing(driver: Driver) -> None:
    driver.run()
    second = driver.run(prompt="another prompt", seed=99)
    assert second.metrics["load_s"] == 0
    assert second.stages("loading") == []


def test_metrics_say_what_ran_and_how_many_tokens_each_encoder_got(driver: Driver) -> None:
    metrics = driver.run(prompt="a red fox").metrics
    assert metrics["engine"] == "cpu"
    assert metrics["gpu"] == "cpu"
    assert metrics["model"] == str(driver.tiny.model)
    assert metrics["clip_tokens"] == 5
    assert metrics["text_tokens"] > 1
    assert metrics["diffusers"] == "0.42.1"
    assert metrics["torch"].startswith("2.")
    assert metrics["inference_s"] > 0


def test_the_engine_is_said_aloud(driver: Driver) -> None:
    assert "engine cpu: no CUDA GPU here" in driver.run().said()


def test_clip_reads_its_own_text(driver: Driver) -> None:
    long = "a lighthouse over a calm sea, " * 30
    trimmed = driver.run(prompt=long, clip_prompt="a lighthouse")
    assert trimmed.metrics["clip_tokens"] == 4
    assert trimmed.metrics["text_tokens"] > 200
    assert trimmed.digest != driver.run(prompt=long).digest


def test_what_an_encoder_will_not_read_is_said(driver: Driver) -> None:
    assert "CLIP reads 77 of the 152 tokens" in driver.run(prompt="fox " * 150).said()


def test_a_cancelled_job_stops_at_the_next_step_and_the_next_job_is_untouched(
    driver: Driver,
) -> None:
    whole = driver.run(steps=3).digest
    cancelled = driver.run(steps=200, cancel_at_step=2)
    assert cancelled.failure["code"] == "cancelled"
    assert cancelled.artifacts == []
    assert cancelled.stages().count("denoise") == 2
    assert driver.run(steps=3).digest == whole


def test_a_lora_changes_the_picture_by_its_weight_and_leaves_nothing_behind(driver: Driver) -> None:
    lora = {"source": "loras/tiny.safetensors"}
    plain = driver.run().digest
    strong = driver.run(loras=[{**lora, "weight": 1.0}])
    weak = driver.run(loras=[{**lora, "weight": 0.2}])
    assert len({plain, strong.digest, weak.digest}) == 3
    assert strong.stages("loading") == ["lora"]
    assert weak.stages("loading") == []  # only the weight differs: nothing is loaded
    assert driver.run().digest == plain


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("loras/none.safetensors", "no LoRA at loras/none.safetensors"),
        ("someone/nothing-here", "someone/nothing-here cannot be used"),
        ("loras/broken.safetensors", "loras/broken.safetensors cannot be used"),
        ("../outside.safetensors", "../outside.safetensors lies outside the workspace"),
        ("https://example.invalid/x.safetensors", "is a URL"),
    ],
)
def test_a_bad_lora_is_named_and_the_pipeline_stays_usable(
    driver: Driver, source: str, reason: str
) -> None:
    (driver.workspace / "loras/broken.safetensors").write_bytes(b"not a LoRA at all")
    plain = driver.run().digest
    bad = driver.run(loras=[{"source": source, "weight": 1.0}])
    assert bad.failure["code"] == "bad_input"
    assert reason in bad.failure["message"]
    assert driver.run().digest == plain


def test_an_initial_image_is_the_start_and_strength_its_distance(driver: Driver) -> None:
    Image.new("RGB", (200, 100), (200, 40, 40)).save(driver.workspace / "init.png")
    outcomes = [
        driver.run(init_image="init.png", strength=strength, steps=10) for strength in (0.2, 0.8)
    ]
    assert outcomes[0].stages().count("denoise") == 2
    assert outcomes[1].stages().count("denoise") == 8
    assert outcomes[0].digest != outcomes[1].digest
    with Image.open(outcomes[0].artifacts[0]["path"]) as picture:
        assert picture.size == (64, 64)


def test_text_to_image_is_the_same_after_image_to_image(driver: Driver) -> None:
    Image.new("RGB", (64, 64), "navy").save(driver.workspace / "navy.png")
    before = driver.run().digest
    driver.run(init_image="navy.png", strength=0.7)
    assert driver.run().digest == before


def test_the_first_block_cache_acts_only_where_the_model_asks_for_it(driver: Driver) -> None:
    exact = driver.run(steps=6).digest
    cached = driver.run(steps=6, model={"cache": "first-block:0.9"})
    assert cached.digest != exact
    assert cached.metrics["load_s"] == 0
    assert driver.run(steps=6).digest == exact


@pytest.mark.parametrize("format_name", ["jpg", "webp"])
def test_other_formats_are_what_they_say(driver: Driver, format_name: str) -> None:
    (artifact,) = driver.run(format=format_name, jpeg_quality=90).artifacts
    with Image.open(artifact["path"]) as picture:
        assert picture.format == {"jpg": "JPEG", "webp": "WEBP"}[format_name]
    assert artifact["media_type"] == {"jpg": "image/jpeg", "webp": "image/webp"}[format_name]


def test_running_out_of_gpu_memory_is_named_with_its_remedies(driver: Driver) -> None:
    failure = driver.run(sabotage="oom").failure
    assert failure == {
        "code": "oom",
        "message": "the GPU ran out of memory at 64×64 with Tiny FLUX",
        "remedy": "ask for fewer pixels, for --engine nf4 or --engine offload, "
        "or rent a larger GPU",
    }


def test_a_gated_model_names_licence_page_and_token(driver: Driver) -> None:
    model = {"repo": "gated/flux", "title": "FLUX.1 [dev]"}
    failure = driver.run(engine="cpu", model=model).failure
    assert failure["code"] == "gated"
    assert "FLUX.1-dev Non-Commercial" in failure["message"]
    assert "https://huggingface.co/black-forest-labs/FLUX.1-dev" in failure["remedy"]
    assert "HF_TOKEN" in failure["remedy"]


def test_a_model_is_fetched_once_and_its_exact_revision_is_known(driver: Driver, hub: Hub) -> None:
    local = driver.run().digest
    model = {"repo": "tiny/flux", "revision": None}
    fetched = driver.run(engine="cpu", model=model)
    assert fetched.metrics["revision"] == COMMIT
    assert fetched.digest == local
    assert "resolve" in " ".join(hub.requests)
    driver.run()  # another model takes the memory
    hub.requests.clear()
    again = driver.run(engine="cpu", model=model)
    assert again.digest == local
    assert [path for path in hub.requests if path.endswith(".safetensors")] == []


def test_a_revision_that_does_not_exist_is_named(driver: Driver) -> None:
    model = {"repo": "tiny/flux", "revision": "no-such-branch"}
    failure = driver.run(engine="cpu", model=model).failure
    assert failure["code"] == "model_missing"
    assert "tiny/flux at revision no-such-branch" in failure["message"]


def test_a_full_disk_is_named_and_leaves_no_half_picture(driver: Driver) -> None:
    outcome = driver.run(sabotage="full")
    assert outcome.failure["code"] == "disk_full"
    assert "free space" in outcome.failure["remedy"]
    assert list(driver.workspace.rglob("*.part")) == []


@pytest.mark.parametrize("repo", ["nobody/no-such-model", "/no/such/folder"])
def test_a_model_that_is_not_there_is_named(driver: Driver, repo: str) -> None:
    failure = driver.run(engine="cpu", model={"repo": repo}).failure
    assert failure["code"] == "model_missing"
    assert repo in failure["message"]


def test_an_unknown_pipeline_is_unsupported(driver: Driver) -> None:
    failure = driver.run(model={"pipeline": "Flux9000Pipeline"}).failure
    assert failure["code"] == "unsupported"
    assert "Flux9000Pipeline" in failure["message"]


def test_a_large_model_without_a_gpu_is_refused_before_it_is_fetched(driver: Driver) -> None:
    outcome = driver.run(model={"repo": "black-forest-labs/FLUX.1-dev", "vram_gb": 34})
    assert outcome.failure["code"] == "unsupported"
    assert "nvidia-smi" in outcome.failure["remedy"]
    assert "model" not in outcome.stages("loading")


def test_where_the_pinned_packages_are_installed_no_venv_is_made(driver: Driver) -> None:
    assert driver.greeting["needs_venv"] is False
