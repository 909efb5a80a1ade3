"""Names of images mean what they mean to Docker."""

from __future__ import annotations

import pytest

from gpuctl.errors import UsageError
from gpuctl.images.references import parsed
from gpuctl.services import image_access

DIGEST = f"sha256:{'a' * 64}"


@pytest.mark.parametrize(
    ("text", "registry", "repository", "tag", "digest"),
    [
        ("alpine", "docker.io", "library/alpine", "latest", None),
        ("me/x:1.0-slim", "docker.io", "me/x", "1.0-slim", None),
        ("docker.io/me/x", "docker.io", "me/x", "latest", None),
        ("index.docker.io/me/x", "docker.io", "me/x", "latest", None),
        ("ghcr.io/a/b/c:t", "ghcr.io", "a/b/c", "t", None),
        ("localhost/x", "localhost", "x", "latest", None),
        ("127.0.0.1:5000/me/x:1", "127.0.0.1:5000", "me/x", "1", None),
        ("[::1]:5000/x", "[::1]:5000", "x", "latest", None),
        (f"me/x@{DIGEST}", "docker.io", "me/x", None, DIGEST),
        (f"me/x:1@{DIGEST}", "docker.io", "me/x", "1", DIGEST),
        ("nvidia/cuda:12.8.1-base-ubuntu24.04", "docker.io", "nvidia/cuda",
         "12.8.1-base-ubuntu24.04", None),
    ],
)  # fmt: skip
def test_a_name_is_taken_apart_as_docker_does_it(
    text: str, registry: str, repository: str, tag: str | None, digest: str | None
) -> None:
    found = parsed(text)
    assert (found.registry, found.repository, found.tag, found.digest) == (
        registry, repository, tag, digest,
    )  # fmt: skip
    assert parsed(str(found)) == found


@pytest.mark.parametrize(
    "text", ["", "Me/X", "me/x:", "me/x:a b", "me//x", "me/x@sha256:12", "me/x@", "../x", "a:b:c"]
)
def test_what_cannot_be_a_name_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is not the name of an image"):
        parsed(text)


def test_the_digest_is_asked_for_before_the_tag() -> None:
    assert parsed("me/x:1").selector == "1"
    assert parsed(f"me/x:1@{DIGEST}").selector == DIGEST
    assert str(parsed("me/x:1").at(DIGEST)) == f"me/x@{DIGEST}"


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("alpine", "https://registry-1.docker.io"),
        ("ghcr.io/a/b", "https://ghcr.io"),
        ("127.0.0.1:5000/x", "http://127.0.0.1:5000"),
        ("127.9.9.9:5000/x", "http://127.9.9.9:5000"),
        ("localhost:5000/x", "http://localhost:5000"),
        ("10.0.0.1:5000/x", "https://10.0.0.1:5000"),
    ],
)
def test_only_this_computer_is_spoken_to_without_tls(text: str, address: str) -> None:
    assert image_access.address(parsed(text)) == address
