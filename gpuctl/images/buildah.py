"""buildah, where Docker is not to be had: the same Dockerfiles, without a daemon."""

from __future__ import annotations

from pathlib import Path

from gpuctl.errors import GpuctlError
from gpuctl.images import failures, logins, running
from gpuctl.images.build_lines import Building, Pushing
from gpuctl.images.engines import BuildOrder, Login, Voice
from gpuctl.images.references import Reference
from gpuctl.images.running import Command


class Buildah:
    """Images are made in Docker's format: the OCI one has no place for HEALTHCHECK."""

    name = "buildah"
    is_simulated = False

    def __init__(self, program: str, version: str, *, note: str | None = None) -> None:
        self._program = program
        self.title = f"buildah {version}"
        self.note = note

    def build_command(self, order: BuildOrder) -> Command:
        argv = [self._program, "bud", "--format", "docker", "--layers"]
        argv += ["--file", str(order.dockerfile), "--tag", str(order.reference)]
        if order.platform:
            argv += ["--platform", order.platform]
        if not order.is_cached:
            argv.append("--no-cache")
        for option, values in (("--build-arg", order.arguments), ("--label", order.labels)):
            argv += [w for name, value in values.items() for w in (option, f"{name}={value}")]
        return Command((*argv, str(order.context)))

    def build(self, order: BuildOrder, voice: Voice) -> str:
        command = self.build_command(order)
        ended = running.run(command, Building(voice))
        if ended.code:
            raise failures.error_of(command, ended)
        answer = running.asked(self._inspect(order.reference))
        if answer.code:
            raise GpuctlError(f"the build ended well, but {order.reference} is not there")
        return f"sha256:{answer.lines[-1].strip()}"

    def has(self, reference: Reference) -> bool:
        return running.asked(self._inspect(reference)).code == 0

    def _inspect(self, reference: Reference) -> Command:
        words = ("inspect", "--type", "image", "--format", "{{.FromImageID}}", str(reference))
        return Command((self._program, *words))

    def push_commands(self, reference: Reference, login: Login | None) -> list[Command]:
        return self._commands(reference, login, Path("auth.json"), Path("digest"))

    def push(self, reference: Reference, login: Login | None, voice: Voice) -> str:
        with logins.folder() as folder:
            account, digest = folder / "auth.json", folder / "digest"
            for command in self._commands(reference, login, account, digest):
                ended = running.run(command, Pushing(voice))
                if ended.code:
                    raise failures.error_of(command, ended)
            return digest.read_text(encoding="utf-8").strip()

    def _commands(
        self, reference: Reference, login: Login | None, account: Path, digest: Path
    ) -> list[Command]:
        """The pushed digest is not the local one: buildah writes it into a file."""
        plain = ["--tls-verify=false"] if reference.is_loopback else []
        where = ["--authfile", str(account)] if login else []
        commands = []
        if login:
            words = ["login", "--username", login.username, "--password-stdin", *where, *plain]
            argv = (self._program, *words, login.registry)
            commands.append(Command(argv, secret=login.password))
        push = ["push", *where, *plain, "--digestfile", str(digest), str(reference)]
        return [*commands, Command((self._program, *push))]
