"""From a Dockerfile to a pushed image without an engine, an account or a network, as typed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from gpuctl import __version__
from gpuctl.sim import launcher
from tests.journeys.conftest import Person
from tests.support.household import Household, household

NAME = f"simulated/gpuctl-flux:{__version__}-slim"


@pytest.fixture(scope="module")
def someone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Household]:
    with household(tmp_path_factory.mktemp("home"), machine=False) as one:
        yield one


def test_build_push_inspect_and_deploy_agree_on_one_digest(someone: Household) -> None:
    image = someone.simulates("build", "flux", "--slim").data["image"]
    assert image["reference"] == NAME
    assert image["simulated"] is True
    assert image["digest"] is None
    pushed = someone.simulates("push", "flux", "--slim").data
    assert pushed["simulated"] is True
    found = someone.simulates("image", "inspect", "flux", "--slim").data
    assert found["digest"] == pushed["digest"] == found["recorded_digest"]
    assert found["labels"]["gpuctl.simulated"] == "true"
    assert (found["min_cuda"], found["platform"]) == ("12.8", "linux/amd64")
    assert someone.simulates("image", "inspect", NAME).data["digest"] == pushed["digest"]
    order = someone.simulates("--dry-run", "deploy", "flux", "--slim").data["body"]
    assert order["image"] == NAME
    assert order["gpu"]["minCudaVersion"] == "12.8"


def test_the_same_scripts_give_the_same_digest_and_an_argument_another(someone: Household) -> None:
    def digest(*more: str) -> str:
        assert someone.simulates("build", "flux", "--slim", *more).code == 0
        return str(someone.simulates("push", "flux", "--slim").data["digest"])

    first = digest()
    assert digest() == first
    assert digest("--arg", "BASE=nvidia/cuda:13.0.1-base-ubuntu24.04") != first
    found = someone.simulates("image", "inspect", "flux", "--slim").data
    assert found["min_cuda"] == "13.0"
    order = someone.simulates("--dry-run", "deploy", "flux", "--slim").data["body"]
    assert order["gpu"]["minCudaVersion"] == "13.0", "the image says more than the default"


def test_no_machine_is_rented_for_an_image_that_nobody_has_pushed(someone: Household) -> None:
    refused = someone.simulates("deploy", "flux", "--slim", "--image", "x").error
    assert refused["code"] == "usage"
    someone.environ["DOCKER_HUB_USERNAME"] = "somebody"
    try:
        done = someone.simulates("deploy", "flux", "--slim")
        assert done.code == 3, done.stdout
        assert "a machine would wait for it in vain" in done.error["message"]
        assert "gpuctl push flux" in done.error["hint"]
        assert someone.simulates("status").data["machines"] == []
    finally:
        del someone.environ["DOCKER_HUB_USERNAME"]


def test_people_are_told_that_it_is_simulated_and_what_comes_next(someone: Household) -> None:
    done = someone.types("--sim", "build", "flux", "--slim")
    assert "(simulated)" in done.stdout
    assert "next: gpuctl push flux --slim" in done.stdout
    assert "RUN lines are not run" in done.stderr
    done = someone.types("--sim", "push", "flux", "--slim")
    assert f"pushed {NAME} (simulated)" in done.stdout
    done = someone.types("--sim", "image", "inspect", "flux", "--slim")
    assert "(as pushed from here)" in done.stdout
    assert "12.8 or newer (NVIDIA_REQUIRE_CUDA)" in done.stdout
    assert "root" in done.stdout
    assert NAME in someone.types("--sim", "image", "list").stdout


def test_a_whole_name_is_kept_and_a_word_is_only_the_tag(someone: Household) -> None:
    for tag, expected in (
        ("try", "simulated/gpuctl-flux:try"),
        ("ghcr.io/me/x:2", "ghcr.io/me/x:2"),
    ):
        planned = someone.simulates("--dry-run", "build", "flux", "--slim", "--tag", tag).data
        assert planned["reference"] == expected
        assert f"--tag {expected}" in planned["command"]
    someone.simulates("build", "flux", "--slim", "--tag", "ghcr.io/me/x:2")
    pushed = someone.simulates("push", "flux", "--slim", "--tag", "ghcr.io/me/x:2").data
    found = someone.simulates("image", "inspect", "ghcr.io/me/x:2").data
    assert found["digest"] == pushed["digest"]


def test_a_dry_run_builds_nothing_pushes_nothing_and_prints_the_commands(
    someone: Household,
) -> None:
    planned = someone.types("--sim", "--dry-run", "build", "flux", "--slim", "--tag", "dry")
    assert planned.stdout.startswith("would run: docker build --file ")
    assert someone.simulates("push", "flux", "--slim", "--tag", "dry").code == 3
    shown = someone.types("--sim", "--dry-run", "push", "flux", "--slim")
    assert shown.stdout == f"would run: docker push {NAME}\n"


@pytest.mark.parametrize(
    ("argv", "code", "said"),
    [
        (("build", "fluxx"), 2, "there is no workload 'fluxx'"),
        (("build", "worker"), 2, "there is no workload 'worker'"),
        (("build", "../flux"), 2, "there is no workload"),
        (("push", "flux", "--full", "--tag", "never"), 3, "is not on this computer"),
        (("build", "flux", "--arg", "BASEE=x"), 2, "has no ARG BASEE"),
        (("build", "flux", "--arg", "BASE"), 2, "--arg wants NAME=VALUE"),
        (("build", "flux", "--tag", "Not/Good:x"), 2, "is not the name of an image"),
        (("image", "inspect", "me/nothing:1"), 3, "has no me/nothing:1"),
        (("image", "inspect", "Bad Name"), 2, "is not the name of an image"),
    ],
)
def test_mistakes_are_named_with_the_next_step(
    someone: Household, argv: tuple[str, ...], code: int, said: str
) -> None:
    done = someone.simulates(*argv)
    assert (done.code, said in done.error["message"]) == (code, True), done.stdout
    assert done.error["hint"]


def test_without_an_account_name_the_real_build_says_what_to_set(person: Person) -> None:
    done = person.types("--json", "build", "flux", "--slim")
    assert done.code == 2
    assert "gpuctl config set dockerhub.username" in done.error["hint"]


def test_the_simulator_s_images_survive_its_restart_and_go_with_its_reset(
    person: Person,
) -> None:
    person.simulates("build", "flux", "--slim")
    digest = person.simulates("push", "flux", "--slim").data["digest"]
    person.types("sim", "stop")
    assert person.simulates("image", "inspect", "flux", "--slim").data["digest"] == digest
    person.types("sim", "reset")
    assert person.simulates("image", "inspect", "flux", "--slim").code == 3
    assert person.simulates("image", "list").data["images"] == []


def test_the_registry_s_password_is_shown_nowhere(person: Person) -> None:
    done = person.types("--sim", "--verbose", "--debug", "build", "flux", "--slim")
    done = person.types("--sim", "--verbose", "--debug", "push", "flux", "--slim")
    found = launcher.running(person.sim_folder)
    assert found is not None
    assert found.registry_password.reveal() not in done.stdout + done.stderr
    kept = json.loads(Path(person.sim_folder / "sim.json").read_text())
    assert kept["registry_password"] == found.registry_password.reveal()
    assert (person.sim_folder / "sim.json").stat().st_mode & 0o077 == 0
