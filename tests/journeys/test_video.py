"""`gpuctl --sim video`: a still, a last picture, a film with its receipt, and what is around it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gpuctl.services import receipts
from tests.journeys.conftest import Person
from tests.remote_scripts.video.seed_layout import seed_graph
from tests.support.claude_stub import claude_stub, message
from tests.support.comfyui_films import colour_at, need_ffmpeg, probed, still
from tests.support.comfyui_service import service
from tests.support.household import Household, household

pytestmark = pytest.mark.ffmpeg
SMALL = ("--size", "128x160", "--frames", "9", "--seed", "7")
PROMPT = ("--prompt", "the tide comes in")


@pytest.fixture(scope="module")
def someone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Household]:
    """Somebody with two pictures and a deployed video machine."""
    need_ffmpeg()
    with household(tmp_path_factory.mktemp("someone"), machine=False) as one:
        still(one.folder / "still.png", (300, 400), (200, 40, 40))
        still(one.folder / "last.png", (300, 400), (40, 40, 200))
        deployed = one.simulates("deploy", "video", "--canary")
        assert deployed.data["canary"]["engine"] == "sim", "one tiny film before it is usable"
        yield one


def films(one: Household, *argv: str) -> dict[str, Any]:
    return one.simulates("video", "still.png", *PROMPT, *argv).data


def test_a_still_and_a_last_picture_become_a_playable_film_with_a_receipt(
    someone: Household,
) -> None:
    done = someone.types(
        "--sim", "video", "still.png", "--end", "last.png", *PROMPT, "--seconds", "5", "--seed", "7"
    )
    assert done.code == 0, done.stderr
    file = Path(done.stdout.strip())
    assert file.name == "the-tide-comes-in-7.mp4"
    assert probed(file) == {"codec": "h264", "size": (544, 736), "frames": 81, "rate": "16/1"}
    assert colour_at(file, 0)[0] > 120, "it begins with the still"
    assert colour_at(file, 80)[2] > 120, "and ends with the last picture"
    assert "sending still.png" in done.stderr
    assert "denoise" in done.stderr
    assert "5.1 s (81 frames at 16/s)" in done.stderr
    (file.parent / f"{file.name}.json").unlink()
    receipt = receipts.read(file)
    assert receipt["prompts"]["user"] == "the tide comes in"
    assert receipt["seed"] == 7
    assert receipt["parameters"]["frames"] == 81
    assert receipt["engine"] == "sim"
    assert receipt["artifact"]["media_type"] == "video/mp4"


def test_what_was_rounded_is_told_and_the_next_ones_time_is_known(someone: Household) -> None:
    argv = ("video", "still.png", *PROMPT, "--size", "135x150", "--frames", "12")
    done = someone.types("--sim", *argv)
    assert "135×150 became 128×144" in done.stderr
    assert "12 frames became 13" in done.stderr
    again = someone.types("--sim", *argv)
    assert "such a film took about" in again.stderr


def test_a_film_is_made_again_from_its_receipt(someone: Household) -> None:
    first = Path(films(someone, *SMALL, "--out", "first.mp4")["file"])
    again = Path(someone.simulates("replay", str(first), "--out", "again.mp4").data["file"])
    assert probed(again) == probed(first)
    assert colour_at(again, 5) == colour_at(first, 5)


def test_a_detached_film_is_brought_home_later(someone: Household) -> None:
    sent = films(someone, *SMALL, "--detach")
    assert sent["files"] == []
    home = someone.simulates("jobs", "attach", sent["job"]).data
    assert probed(Path(home["file"]))["frames"] == 9


def test_a_connection_that_drops_costs_nothing(someone: Household) -> None:
    someone.fault("ssh-drop", "--value", "bytes:2000")
    data = films(someone, *SMALL, "--out", "dropped.mp4")
    assert probed(Path(data["file"]))["frames"] == 9


def test_a_chain_goes_on_from_the_last_frame_and_is_joined(someone: Household) -> None:
    data = films(someone, *SMALL, "--end", "last.png", "--chain", "3", "--out", "long.mp4")
    whole, *pieces = map(Path, data["files"])
    assert whole.name == "long.mp4"
    assert len(pieces) == 3
    assert probed(whole)["frames"] == 9 * 3 - 2, "the frame that two pieces share is shown once"
    assert colour_at(whole, 24)[2] > 120, "the end image is the last piece's"
    details = receipts.read(whole)["details"]
    assert [row["file"] for row in details["pieces"]] == [piece.name for piece in pieces]
    for piece in pieces:
        assert receipts.read(piece)["seed"] == 7


def test_a_workflow_of_ones_own_is_validated_set_and_run(someone: Household) -> None:
    (someone.folder / "mine.json").write_text(json.dumps(seed_graph()))
    found = someone.simulates("video", "validate", "mine.json").data
    assert found["problems"] == []
    assert found["parameters"]["steps"][0] == "569.value"
    done = someone.types(
        *("--sim", "--json", "video", "still.png", "--workflow", "mine.json"),
        *("--set", "131.frame_rate=8", "--set", "541.num_frames=13", *PROMPT),
        *("--size", "128x160", "--out", "mine.mp4", "--steps", "2"),
    )
    assert done.code == 0, done.stderr
    assert probed(Path(done.data["file"])) == {
        "codec": "h264",
        "size": (128, 160),
        "frames": 13,
        "rate": "8/1",
    }


def test_a_workflow_that_cannot_run_is_refused_with_the_reason(someone: Household) -> None:
    (someone.folder / "ui.json").write_text(json.dumps({"nodes": [], "links": [], "version": 0.4}))
    for argv in (("video", "validate", "ui.json"), ("video", "still.png", "--workflow", "ui.json")):
        refused = someone.simulates(*argv)
        assert (refused.code, refused.error["code"]) == (2, "usage")
        assert "Export (API)" in refused.error["hint"]
    graph = seed_graph()
    graph["122"]["inputs"]["model"] = "Wan2_2-mine.safetensors"
    graph["9"] = {"class_type": "NoSuchNode", "inputs": {}}
    (someone.folder / "bad.json").write_text(json.dumps(graph))
    refused = someone.simulates("video", "validate", "bad.json")
    assert refused.code == 8
    assert "NoSuchNode" in refused.error["message"]
    assert "'Wan2_2-mine.safetensors' is not on the server; nearest" in refused.error["message"]


def test_models_and_workflows_of_the_machine_are_listed(someone: Household) -> None:
    names = [row["name"] for row in someone.simulates("video", "workflows").data["workflows"]]
    assert names == ["wan22_flf2v", "wan22_i2v"]
    lora = someone.workspace / "loras/mine.safetensors"
    lora.parent.mkdir(exist_ok=True)
    lora.write_bytes(b"not whole")
    rows = someone.simulates("video", "models").data["models"]
    mine = next(row for row in rows if row["name"] == "mine.safetensors")
    assert mine["folder"] == "loras"
    assert mine["problem"]
    assert "damaged" in someone.types("--sim", "video", "models").stdout


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("nothing.png", *PROMPT), "there is no picture nothing.png"),
        (("still.png",), "give a prompt"),
        (("still.png", *PROMPT, "--seconds", "5", "--frames", "9"), "both say how long"),
        (("still.png", *PROMPT, "--480p", "--720p"), "two sizes"),
        (("still.png", *PROMPT, "--preset", "best"), "no preset 'best'"),
        (("still.png", *PROMPT, "--lora", "a.ckpt,b.ckpt"), "not a .safetensors file"),
        (("still.png", *PROMPT, "--seconds", "60"), "more than one piece"),
        (("still.png", *PROMPT, "--chain", "2", "--detach"), "each piece before the next"),
        (("still.png", *PROMPT, "--set", "nonsense"), "NODE.INPUT=VALUE"),
        (("still.png", "last.png", *PROMPT), "what is 'last.png'?"),
        (("still.png", *PROMPT, "--out", "film.txt"), "not a format"),
        (("validate",), "validate wants a workflow"),
    ],
)
def test_a_mistake_is_named_before_anything_is_sent(
    argv: tuple[str, ...], said: str, someone: Household
) -> None:
    refused = someone.simulates("video", *argv)
    assert refused.code in (2, 3)
    assert said in refused.error["message"]


def test_a_dry_run_shows_the_whole_order_and_sends_nothing(someone: Household) -> None:
    before = len(someone.simulates("jobs", "list").data["jobs"])
    done = someone.simulates("--dry-run", "video", "still.png", *PROMPT, "--720p", "--seed", "3")
    given = done.data["input"]
    assert (given["width"], given["height"], given["frames"]) == (832, 1104, 81)
    assert list(done.data["uploads"].values()) == ["still.png"]
    assert len(someone.simulates("jobs", "list").data["jobs"]) == before


def test_a_service_that_was_killed_is_started_again_by_the_next_film(someone: Household) -> None:
    """What was shipped with the client serves where the image's own is gone."""
    import os
    import signal

    from gpuctl.sim import processes

    [pod] = (someone.sim_folder / "pods").iterdir()
    for pid in processes.with_marker("RUNPOD_POD_ID", pod.name):
        line = Path(f"/proc/{pid}/cmdline").read_bytes()
        if b"service\0video" in line:
            os.kill(pid, signal.SIGKILL)
    done = someone.types("--sim", "video", "still.png", *PROMPT, *SMALL, "--out", "after.mp4")
    assert done.code == 0, done.stderr
    assert "starting the video service" in done.stderr
    assert probed(someone.folder / "after.mp4")["frames"] == 9


def test_an_endpoint_makes_films_by_the_same_handler(someone: Household) -> None:
    made = someone.simulates("deploy", "video", "--serverless")
    assert made.code == 0, made.stdout
    endpoint = someone.simulates("endpoint", "list").data["endpoints"][0]["id"]
    data = films(someone, *SMALL, "--on", endpoint, "--out", "queued.mp4")
    assert probed(Path(data["file"]))["size"] == (128, 160)


def test_a_service_that_is_known_by_its_address_wants_its_token(
    someone: Household, tmp_path: Path
) -> None:
    with service(tmp_path / "w", SERVICE_TOKEN="right") as found:
        argv = ("video", "still.png", *PROMPT, *SMALL, "--on", f"http://127.0.0.1:{found.port}")
        refused = someone.types("--json", *argv)
        assert (refused.code, refused.error["code"]) == (4, "credentials")
        someone.environ["SERVICE_TOKEN"] = "right"
        try:
            sent = someone.types("--json", *argv, "--detach", "--out", "address.mp4").data
            home = someone.types("--json", "jobs", "attach", sent["job"])
        finally:
            del someone.environ["SERVICE_TOKEN"]
    assert probed(Path(home.data["file"]))["frames"] == 9
    assert "right" not in home.stdout + home.stderr


def test_a_machine_rented_for_video_paints_a_picture_all_the_same(person: Person) -> None:
    rented = person.simulates("deploy", "video").data["machine"]
    painted = person.simulates("flux", "a red fox", "--size", "64x64", "--on", rented["name"])
    assert painted.data["workload"] == "flux"
    assert Path(painted.data["file"]).is_file()


def test_claude_may_rewrite_the_prompt_and_the_receipt_holds_both(someone: Household) -> None:
    better = "the tide comes in over wet sand, slow and grey, the camera holds still"
    with claude_stub(message(better)) as stub:
        someone.environ |= {"ANTHROPIC_API_KEY": "sk-test", "ANTHROPIC_BASE_URL": stub.url}
        try:
            data = films(someone, *SMALL, "--enhance", "--out", "better.mp4")
        finally:
            del someone.environ["ANTHROPIC_API_KEY"], someone.environ["ANTHROPIC_BASE_URL"]
    assert data["enhanced"] == better
    prompts = receipts.read(Path(data["file"]))["prompts"]
    assert (prompts["user"], prompts["enhanced"]) == ("the tide comes in", better)
    assert prompts["text_encoder"] == better
