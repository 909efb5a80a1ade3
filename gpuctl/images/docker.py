"""Docker's command line: build with buildx, BuildKit or the older builder; push with a login
that is nobody else's."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

from gpuctl.errors import GpuctlError, MissingDependency
from gpuctl.images import failures, logins, running
from gpuctl.images.build_lines import Building, Pushing
from gpuctl.images.dockerfiles import needs_buildkit
from gpuctl.images.engines import BuildOrder, Login, Voice
from gpuctl.images.references import DOCKER_HUB, Reference
from gpuctl.images.running import Command, Ended

_DIGEST = re.compile(r"digest: (sha256:[0-9a-f]{64})")
BUILDX_REMEDY = "install the plugin: apt install docker-buildx-plugin (in Docker Desktop it is)"


class Docker:
    """`builder` is buildx, buildkit (built into clients before 23) or legacy."""

    name = "docker"
    is_simulated = False

    def __init__(self, program: str, version: str, builder: str) -> None:
        self._program = program
        self.builder = builder
        self.title = f"docker {version} ({builder})"
        self.note: str | None = None
        if builder == "legacy" and os.environ.get("DOCKER_BUILDKIT") != "0":
            self.note = (
                "docker has no buildx plugin here: its older builder is used (DOCKER_BUILDKIT=0). "
                f"For BuildKit, {BUILDX_REMEDY}"
            )

    def build_command(self, order: BuildOrder) -> Command:
        if order.bake and self.builder == "buildx":
            return self._bake(order)
        asks = needs_buildkit(order.dockerfile.read_text(encoding="utf-8"))
        if asks and self.builder == "legacy":
            raise MissingDependency(
                f"{order.dockerfile.name} uses {asks}, which only BuildKit can do, "
                "and docker has no buildx plugin here",
                hint=BUILDX_REMEDY,
            )
        if self.builder == "buildx":
            argv = [self._program, "buildx", "build", "--load", "--progress=plain"]
            env = {}
        else:
            is_kit = self.builder == "buildkit"
            argv = [self._program, "build", *(["--progress=plain"] if is_kit else [])]
            env = {"DOCKER_BUILDKIT": "1" if is_kit else "0"}
        argv += ["--file", str(order.dockerfile), "--tag", str(order.reference)]
        argv += [word for pair in _pairs(order) for word in pair]
        return Command((*argv, str(order.context)), env)

    def _bake(self, order: BuildOrder) -> Command:
        """The file is the truth; what was asked for on the command line goes over it."""
        assert order.bake is not None
        file, target = order.bake
        argv = [self._program, "buildx", "bake", "--file", str(file), "--load", "--progress=plain"]
        settings = [f"tags={order.reference}"]
        settings += [f"args.{name}={value}" for name, value in order.arguments.items()]
        settings += [f"labels.{name}={value}" for name, value in order.labels.items()]
        settings += [f"platform={order.platform}"] if order.platform else []
        settings += [] if order.is_cached else ["no-cache=true"]
        argv += [word for each in settings for word in ("--set", f"{target}.{each}")]
        return Command((*argv, target))

    def build(self, order: BuildOrder, voice: Voice) -> str:
        command = self.build_command(order)
        # A bake file names its context and Dockerfile relative to where bake runs.
        ended = running.run(command, Building(voice), folder=order.context)
        _succeeded(command, ended)
        return self._image_id(order.reference)

    def has(self, reference: Reference) -> bool:
        return running.asked(self._inspect(reference)).code == 0

    def _image_id(self, reference: Reference) -> str:
        answer = running.asked(self._inspect(reference))
        if answer.code:
            raise GpuctlError(
                f"the build ended well, but {reference} is not there: {answer.text}",
                hint="docker image ls",
            )
        return answer.lines[-1].strip()

    def _inspect(self, reference: Reference) -> Command:
        return Command((self._program, "image", "inspect", "--format", "{{.Id}}", str(reference)))

    def push_commands(self, reference: Reference, login: Login | None) -> list[Command]:
        commands = []
        if login:
            host = [] if login.registry == DOCKER_HUB else [login.registry]
            words = (self._program, "login", "--username", login.username, "--password-stdin")
            commands.append(Command((*words, *host), secret=login.password))
        return [*commands, Command((self._program, "push", str(reference)))]

    def push(self, reference: Reference, login: Login | None, voice: Voice) -> str:
        with self._account(login) as env:
            for command in self.push_commands(reference, login):
                is_login = command.secret is not None
                if is_login:
                    voice.report.step(f"logging in at {reference.registry}")
                follow = voice.detail if is_login else Pushing(voice)
                ended = running.run(command.with_env(env), follow)
                _succeeded(command, ended)
        found = _DIGEST.search(ended.text)
        if not found:
            raise GpuctlError(f"docker push of {reference} told no digest", hint="--verbose")
        return found[1]

    @contextmanager
    def _account(self, login: Login | None) -> Iterator[dict[str, str]]:
        """A login of our own in a folder of our own (0700), which is removed whatever happens.

        The engine that the operator's context names stays the one that is spoken to.
        """
        if login is None:
            yield {}
            return
        host = self._endpoint()
        with logins.folder() as folder:
            yield {"DOCKER_CONFIG": str(folder), **({"DOCKER_HOST": host} if host else {})}

    def _endpoint(self) -> str | None:
        if os.environ.get("DOCKER_HOST"):
            return None
        template = "{{.Endpoints.docker.Host}}"
        answer = running.asked(Command((self._program, "context", "inspect", "--format", template)))
        return answer.lines[-1].strip() if answer.code == 0 and answer.lines else None


def _pairs(order: BuildOrder) -> Iterator[tuple[str, ...]]:
    if order.platform:
        yield "--platform", order.platform
    if not order.is_cached:
        yield ("--no-cache",)
    for name, value in order.arguments.items():
        yield "--build-arg", f"{name}={value}"
    for name, value in order.labels.items():
        yield "--label", f"{name}={value}"


def _succeeded(command: Command, ended: Ended) -> None:
    if ended.code:
        raise failures.error_of(command, ended)
