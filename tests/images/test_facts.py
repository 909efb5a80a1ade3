"""What is read in manifests and configurations: CUDA, platforms, layers, secrets."""

from __future__ import annotations

import pytest

from gpuctl.errors import ApiError, NotFound
from gpuctl.images import facts, manifests, suspicions
from gpuctl.images.manifests import Descriptor
from gpuctl.models import Json

# As NVIDIA's own image of CUDA 12.8.1 states it, shortened.
REQUIRE = (
    "cuda>=12.8 brand=unknown,driver>=470,driver<471 brand=grid,driver>=470,driver<471 "
    "brand=tesla,driver>=535,driver<536"
)


@pytest.mark.parametrize(
    ("environment", "labels", "expected"),
    [
        ({"NVIDIA_REQUIRE_CUDA": REQUIRE, "CUDA_VERSION": "12.9.0"}, {},
         ("12.8", "NVIDIA_REQUIRE_CUDA")),
        ({"CUDA_VERSION": "12.8.1"}, {}, ("12.8", "CUDA_VERSION")),
        ({"NV_CUDA_CUDART_VERSION": "13.0.48-1"}, {}, ("13.0", "NV_CUDA_CUDART_VERSION")),
        ({}, {"com.nvidia.cuda.version": "11.8"}, ("11.8", "label com.nvidia.cuda.version")),
        ({"NVIDIA_REQUIRE_CUDA": "driver>=535", "CUDA_VERSION": ""}, {}, (None, None)),
        ({}, {}, (None, None)),
    ],
)  # fmt: skip
def test_the_oldest_cuda_is_read_where_images_state_it(
    environment: dict[str, str], labels: dict[str, str], expected: tuple[str | None, str | None]
) -> None:
    assert facts.min_cuda(environment, labels) == expected


def an_image(sizes: list[int], history: list[Json], **runtime: object) -> facts.ImageFacts:
    layers = [{"digest": f"sha256:{at}", "size": size} for at, size in enumerate(sizes)]
    document = {"config": {"digest": "sha256:c", "size": 1}, "layers": layers}
    config = {"os": "linux", "architecture": "amd64", "config": runtime, "history": history}
    return facts.of(
        "x", digest="sha256:m", manifest_digest="sha256:m", platforms=(),
        manifest=manifests.manifest(document), config=config,
    )  # fmt: skip


def test_layers_above_a_gigabyte_are_named_by_what_made_them() -> None:
    history: list[Json] = [
        {"created_by": "ADD base"},
        {"created_by": "ENV A=1", "empty_layer": True},
        {"created_by": "RUN pip install torch"},
    ]
    found = an_image([30_000_000, 4_100_000_000], history)
    assert [layer.created_by for layer in found.large_layers] == ["RUN pip install torch"]
    assert found.compressed_bytes == 4_130_000_000
    quick, slow = found.pull_s
    assert 18 < quick < 19
    assert 41 < slow < 42


def test_a_history_that_does_not_match_the_layers_is_not_guessed_at() -> None:
    found = an_image([1, 2], [{"created_by": "squashed"}])
    assert [layer.created_by for layer in found.layers] == ["", ""]


@pytest.mark.parametrize(
    ("user", "is_root"),
    [("", True), ("0", True), ("root:root", True), ("worker", False), ("1000:0", False)],
)
def test_who_the_processes_run_as(user: str, is_root: bool) -> None:
    assert an_image([], [], User=user).is_root is is_root


def entry(platform: str) -> Descriptor:
    return Descriptor(f"sha256:{platform}", 1, platform=platform)


def test_the_platform_of_gpu_machines_is_chosen_unless_another_is_asked_for() -> None:
    entries = [entry("linux/arm64/v8"), entry("linux/amd64")]
    assert manifests.chosen(entries, None).platform == "linux/amd64"
    assert manifests.chosen(entries, "linux/arm64").platform == "linux/arm64/v8"
    assert manifests.chosen(entries[:1], None).platform == "linux/arm64/v8"
    with pytest.raises(NotFound, match=r"not there for linux/s390x; it is for: linux/amd64, li"):
        manifests.chosen(entries, "linux/s390x")


def test_attestations_in_an_index_are_no_platforms() -> None:
    document: Json = {
        "manifests": [
            {"digest": "a", "size": 1, "platform": {"os": "linux", "architecture": "amd64"}},
            {"digest": "b", "size": 1, "platform": {"os": "unknown", "architecture": "unknown"}},
        ]
    }
    entries = manifests.index_entries(document)
    assert entries is not None
    assert [each.digest for each in entries] == ["a"]
    assert manifests.index_entries({"layers": []}) is None


def test_a_manifest_of_the_old_schema_is_named() -> None:
    with pytest.raises(ApiError, match="old schema 1"):
        manifests.manifest({"schemaVersion": 1, "fsLayers": []})


# Put together here so that no scanner takes this file for a leak.
HF = "hf_" + "a" * 20
SECRETS = [
    ({"HF_TOKEN": "something-secret"}, [], "env HF_TOKEN"),
    ({"MY_PASSWORD": "hunter22"}, [], "env MY_PASSWORD"),
    ({"AWS_SECRET_ACCESS_KEY": "abcdefgh"}, [], "env AWS_SECRET_ACCESS_KEY"),
    ({"HARMLESS": HF}, [], "env HARMLESS"),
    ({"URL": "https://me:hidden@example.com/x"}, [], "env URL"),
    ({}, ["|1 HF_TOKEN=something-secret /bin/sh -c get"], "history step 1, HF_TOKEN"),
    ({}, ["nothing", f"RUN curl -H x:{HF} y"], "history step 2"),
    ({}, ["RUN curl -H 'Authorization: Bearer abcdefghijklmnopqrst' y"], "history step 1"),
    ({}, ["ENV X=-----BEGIN OPENSSH PRIVATE KEY-----"], "history step 1"),
]


@pytest.mark.parametrize(("environment", "commands", "where"), SECRETS)
def test_what_looks_like_a_secret_is_placed_but_never_repeated(
    environment: dict[str, str], commands: list[str], where: str
) -> None:
    history: list[Json] = [{"created_by": command} for command in commands]
    [found] = suspicions.of(environment, {}, history)
    assert found.where == where
    for value in (HF, "something-secret", "hunter22", "hidden", "abcdefgh"):
        assert value not in str(found)


@pytest.mark.parametrize(
    "environment",
    [
        {"GPG_KEY": "7169605F62C751356D054A26A821E680E5FA6305"},
        {"HF_TOKEN": ""},
        {"HF_TOKEN": "***"},
        {"HF_TOKEN_PATH": "/workspace/token"},
        {"PASSWORD_FILE": "/run/secrets/x"},
        {"PYTHON_PIP_VERSION": "24.0"},
        {"CACHE_KEY": "abc"},
        {"MAX_TOKENS": "400"},
        {"TOKENIZERS_PARALLELISM": "false"},
    ],
)
def test_what_only_sounds_like_a_secret_is_left_alone(environment: dict[str, str]) -> None:
    assert suspicions.of(environment, {}, []) == ()


def test_one_secret_in_environment_and_history_is_told_once() -> None:
    history: list[Json] = [{"created_by": "ENV HF_TOKEN=something-secret"}]
    found = suspicions.of({"HF_TOKEN": "something-secret"}, {}, history)
    assert [each.where for each in found] == ["env HF_TOKEN"]
