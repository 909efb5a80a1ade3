"""What gpuctl reads in a Dockerfile."""

from __future__ import annotations

from pathlib import Path

import pytest

from gpuctl.images import dockerfiles, manifests, simulated_image
from gpuctl.images.facts import of as facts_of
from gpuctl.images.simulated_image import SimulatedImage

CONTENT = """\
# syntax of old
ARG BASE=nvidia/cuda:12.8.1-base-ubuntu24.04
FROM python:3.12 AS tools
ARG GIT_VERSION=v1
RUN make && \\
    # a comment in the middle
    make install
FROM ${BASE} AS run
ENV A=1 \\
    PATH_LIKE="a b"
FROM run
ARG NAME
ARG GIT_VERSION
ENV NAME=${NAME:-nobody} OLD=$A
LABEL version="$GIT_VERSION" two='x y'
WORKDIR /srv
COPY --from=tools /x /x
COPY one.txt sub/ ./
ADD one.txt /etc/renamed
EXPOSE 9090 22/tcp
USER worker
HEALTHCHECK --interval=5s CMD ["check", "it"]
CMD serve --fast
"""


def test_arguments_are_found_in_every_stage_with_their_defaults() -> None:
    assert dockerfiles.arguments(CONTENT) == {
        "BASE": "nvidia/cuda:12.8.1-base-ubuntu24.04",
        "GIT_VERSION": "v1",
        "NAME": None,
    }


def test_continued_lines_are_one_and_comments_none() -> None:
    first = dockerfiles.stages(CONTENT)[1][0]
    assert [str(each) for each in first.instructions] == [
        "ARG GIT_VERSION=v1",
        "RUN make && make install",
    ]


def test_the_last_image_inherits_from_the_stage_it_is_built_on() -> None:
    image = dockerfiles.last_image(CONTENT)
    assert image.base == "${BASE}"
    assert [each.word for each in image.instructions[:2]] == ["ENV", "ARG"]


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("RUN --mount=type=cache,target=/x pip install y", "RUN --mount"),
        ("RUN <<EOF\necho hi\nEOF", "RUN <<EOF"),
        ("COPY --link a b", "COPY --link"),
        ("COPY --chmod=755 a b", "COPY --chmod"),
        ("COPY --from=x a b", None),
        ("COPY --chown=me a b", None),
        ("RUN echo --mount", "RUN --mount"),
        ("RUN cat <<< word", None),
    ],
)
def test_what_needs_buildkit_is_recognised(line: str, named: str | None) -> None:
    assert dockerfiles.needs_buildkit(f"FROM x\n{line}\n") == named


@pytest.fixture
def context(tmp_path: Path) -> Path:
    (tmp_path / "sub/__pycache__").mkdir(parents=True)
    (tmp_path / "one.txt").write_text("1")
    (tmp_path / "sub/two.sh").write_text("2")
    (tmp_path / "sub/two.sh").chmod(0o755)
    (tmp_path / "sub/__pycache__/x.pyc").write_text("no")
    return tmp_path


def made(context: Path, **arguments: str) -> SimulatedImage:
    return simulated_image.made(
        CONTENT, context, arguments=arguments, labels={"gpuctl.workload": "w"}, platform=None
    )


def test_the_simulated_image_has_what_the_dockerfile_says(context: Path) -> None:
    import gzip
    import io
    import json
    import tarfile

    image = made(context, NAME="me", GIT_VERSION="v2")
    config = json.loads(image.config)
    found = facts_of(
        "x", digest="d", manifest_digest="d", platforms=(),
        manifest=manifests.manifest(json.loads(image.manifest)), config=config,
    )  # fmt: skip
    assert {"A=1", "PATH_LIKE=a b", "NAME=me", "OLD=1"} <= set(config["config"]["Env"])
    assert found.labels["version"] == "v2"
    assert found.labels["two"] == "x y"
    assert found.labels["gpuctl.simulated"] == "true"
    assert (found.min_cuda, found.min_cuda_from) == ("12.8", "NVIDIA_REQUIRE_CUDA")
    assert found.ports == ("22/tcp", "9090/tcp")
    assert found.user == "worker"
    assert not found.is_root
    assert found.command == ("/bin/sh", "-c", "serve --fast")
    assert found.has_healthcheck
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(image.layer))) as archive:
        files = {each.name: each.mode for each in archive.getmembers()}
    assert files == {"etc/renamed": 0o644, "srv/one.txt": 0o644, "srv/two.sh": 0o755}


def test_the_same_context_gives_the_same_image_and_another_one_another(context: Path) -> None:
    first = made(context)
    (context / "one.txt").touch()
    assert made(context) == first
    (context / "one.txt").write_text("changed")
    assert made(context).layer != first.layer
    assert made(context, NAME="else").config != first.config
