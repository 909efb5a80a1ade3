"""All that a command is given from outside, made on first use; it decides nothing."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpuctl import config, resources
from gpuctl.console import Console
from gpuctl.context_endpoints import EndpointContext
from gpuctl.context_services import ServiceContext
from gpuctl.context_voices import VoiceContext
from gpuctl.models import Need, Secret

if TYPE_CHECKING:
    from gpuctl.clients.aws_sts import AwsAccess
    from gpuctl.images.engines import Engine
    from gpuctl.models import Machine
    from gpuctl.providers.base import Provider
    from gpuctl.providers.ec2 import Ec2Provider
    from gpuctl.providers.ec2_account import Ec2Account
    from gpuctl.providers.runpod_account import RunpodAccount
    from gpuctl.remote.base import Shell
    from gpuctl.services.connections import Connector
    from gpuctl.services.image_access import Access
    from gpuctl.services.links import MachineLink
    from gpuctl.services.session import Session
    from gpuctl.services.waiting import Clock
    from gpuctl.sim.launcher import Simulator
    from gpuctl.state import State


_OF_THE_ACCOUNT = (
    "runpod.pod_id",
    "runpod.host",
    "runpod.port",
    "runpod.volume_id",
    "runpod.gpu",
    "runpod.data_centers",
)


class Context(EndpointContext, ServiceContext, VoiceContext):
    """Settings, console, state, clock, and the providers. Nothing is read or opened before use."""

    def __init__(
        self,
        console: Console,
        *,
        environ: Mapping[str, str] | None = None,
        project_folder: Path | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.console = console
        self.environ = os.environ if environ is None else environ
        self.project_folder = project_folder or Path.cwd()
        self._clock = clock
        # The command line without the global options: what stood behind `--` can be told.
        self.argv: tuple[str, ...] = ()

    # Folders (XDG on Linux; the platform's own elsewhere).

    @cached_property
    def cache_folder(self) -> Path:
        return self._folder("XDG_CACHE_HOME", "cache")

    @cached_property
    def user_config(self) -> Path:
        return self._folder("XDG_CONFIG_HOME", "config") / "config.yaml"

    @cached_property
    def home_state_folder(self) -> Path:
        return self._folder("XDG_STATE_HOME", "state")

    @cached_property
    def state_folder(self) -> Path:
        """The simulator's machines are remembered apart from the ones that cost money."""
        return self.sim_folder / "client" if self.is_sim else self.home_state_folder

    @property
    def sim_folder(self) -> Path:
        return self.home_state_folder / "sim"

    def _folder(self, variable: str, kind: str) -> Path:
        if root := self.environ.get(variable):
            return Path(root) / "gpuctl"
        import platformdirs  # noqa: PLC0415  only where XDG does not say it

        found = {
            "cache": platformdirs.user_cache_path,
            "config": platformdirs.user_config_path,
            "state": platformdirs.user_state_path,
        }[kind]("gpuctl")
        return Path(found)

    # What the global options say.

    @cached_property
    def is_sim(self) -> bool:
        asked = self.environ.get("GPUCTL_SIM", "").lower() not in ("", "0", "false", "no")
        return self.console.options.sim or asked

    @property
    def is_dry_run(self) -> bool:
        return self.console.options.dry_run

    # Made on first use.

    @cached_property
    def settings(self) -> config.Settings:
        settings = config.load(
            schema=resources.bundled("config_defaults.yaml"),
            cache_folder=self.cache_folder,
            environ=self.environ,
            project_folder=self.project_folder,
            user_config=self.user_config,
        )
        for key in config.SECRET_KEYS:
            self.console.redact.learn(settings.secret(key))
        if self.is_sim:
            # The configured pod, volume and places are the account's, not the simulator's.
            settings = settings.without(_OF_THE_ACCOUNT, "not in the simulator")
            settings = settings.with_default("dockerhub.username", "simulated", "the simulator")
        return settings

    @cached_property
    def state(self) -> State:
        from gpuctl.state import State  # noqa: PLC0415  sqlite, only for commands that remember

        return State(self.state_folder / "state.db")

    @cached_property
    def clock(self) -> Clock:
        from gpuctl.services.waiting import SystemClock  # noqa: PLC0415  only for those who wait

        return self._clock or SystemClock()

    @cached_property
    def simulator(self) -> Simulator:
        """The running simulator; started when there is none."""
        from gpuctl.sim import launcher  # noqa: PLC0415  only with --sim

        if found := launcher.running(self.sim_folder):
            return found
        self.console.step("starting the simulator")
        return launcher.ensure(
            self.sim_folder,
            settings={
                "GPUCTL_SIM_STEP_S": str(self.settings.number("sim.step_s")),
                "GPUCTL_SIM_LOAD_S": str(self.settings.number("sim.load_s")),
            },
        )

    def provider(self, name: str = "runpod") -> Provider:
        return self.ec2 if name == "ec2" else self._providers[name]

    @cached_property
    def _providers(self) -> Mapping[str, Provider]:
        from gpuctl.providers import connect_all  # noqa: PLC0415  httpx, only for the cloud

        return connect_all(
            api_url=self.simulator.api_url if self.is_sim else self.settings.text("runpod.api_url"),
            api_key=self.api_key,
            timeout_s=self.settings.number("runpod.timeout_s"),
            sleep=self.clock.sleep,
        )

    @property
    def api_key(self) -> Secret | None:
        key = self.simulator.api_key if self.is_sim else self.settings.secret("runpod.api_key")
        self.console.redact.learn(key)
        return key

    def account(self) -> RunpodAccount:
        """The RunPod account beyond its machines, over the same connection."""
        from gpuctl.providers.runpod import RunpodProvider  # noqa: PLC0415  only for money
        from gpuctl.providers.runpod_account import RunpodAccount  # noqa: PLC0415  likewise

        provider = self.provider("runpod")
        assert isinstance(provider, RunpodProvider)
        return RunpodAccount(provider.api)

    def aws_regions(self) -> list[Ec2Account]:
        """Where instances and disks may bill; [] without credentials for AWS."""
        from gpuctl.services import aws  # noqa: PLC0415  only for money

        return aws.accounts(self.settings, self.state, self.sim_folder if self.is_sim else None)

    @cached_property
    def aws_access(self) -> AwsAccess:
        """How AWS is reached. With --sim: the simulated one, started when there is none."""
        from gpuctl.services import aws  # noqa: PLC0415  only for EC2

        if not self.is_sim:
            return aws.access(self.settings)
        _ = self.simulator  # its folder is the simulated AWS's too
        return aws.simulated_access(self.settings, self.sim_folder)

    @cached_property
    def ec2(self) -> Ec2Provider:
        """EC2 in every region where instances of ours may be."""
        from gpuctl.services import aws  # noqa: PLC0415  only for EC2

        return aws.provider(self.settings, self.state, self.aws_access)

    def need(self, workload: str) -> Need:
        from gpuctl.workloads import WORKLOADS  # noqa: PLC0415  commands that generate have it

        return WORKLOADS[workload].need(self.section(workload))

    def section(self, name: str) -> dict[str, Any]:
        """The keys of one section of the configuration, without its name."""
        return {
            key.partition(".")[2]: value.value
            for key, value in self.settings.items()
            if key.startswith(f"{name}.")
        }

    # What holds images.

    def registries(self) -> Access:
        """The registries of images; in the simulator its own stands for all of them."""
        from gpuctl.services import image_access  # noqa: PLC0415  only for images

        found = self.simulator if self.is_sim else None
        self.console.redact.learn(found.registry_password if found else None)
        return image_access.access(self.settings, found)

    def container_engine(self) -> Engine:
        """What builds images here. Raises MissingDependency; the simulator needs nothing."""
        from gpuctl.services import image_access  # noqa: PLC0415  only for images

        kept = self.state_folder / "images" if self.is_sim else None
        return image_access.engine(self.settings, kept, self.registries)

    # What reaches machines.

    def session(self, provider: str = "runpod") -> Session:
        from gpuctl.services.session import Session  # noqa: PLC0415  only for those who need it

        return Session(self.provider(provider), self.state, self.clock, self.console)

    def connector(self) -> Connector:
        from gpuctl.services.connections import Connector, SshOptions  # noqa: PLC0415  likewise

        settings = self.settings
        options = SshOptions(
            key=self.ssh_key,
            connect_timeout_s=settings.number("ssh.connect_timeout_s"),
            keepalive_s=settings.integer("ssh.keepalive_s"),
            silence_limit_s=settings.number("ssh.silence_limit_s"),
            window_bytes=settings.integer("ssh.window_bytes"),
        )
        return Connector(
            options, self.state, self.provider, self.clock, self.console, on_probe=self._arm
        )

    def _arm(self, shell: Shell, machine: Machine) -> None:
        """The first thing that happens on a machine: its deadline is put in force there."""
        from gpuctl.services import watchdogs  # noqa: PLC0415  only for those who need it

        session = self.session(machine.provider)
        watchdogs.arm_or_warn(session, shell, machine, workspace=self.workspace)

    @property
    def workspace(self) -> str | None:
        """The configured folder on machines; None = the machine's own default."""
        return self.settings.text_or_none("remote.workspace")

    @property
    def ssh_key(self) -> Path:
        """The private key. The simulator brings its own, so that a first try needs none."""
        asked = self.settings.value("ssh.key")
        if self.is_sim and asked.origin == "default":
            from gpuctl.services.ssh_identity import own_key  # noqa: PLC0415  only with --sim

            return own_key(self.state_folder / "id_ed25519")
        return self.settings.path("ssh.key")

    def link(self, machine: Machine) -> MachineLink:
        from gpuctl.services.links import MachineLink, WorkerOptions  # noqa: PLC0415  likewise

        settings = self.settings
        token = settings.secret("huggingface.token")
        workspace = settings.text_or_none("remote.workspace")
        if machine.id == "local" and workspace is None:
            # /workspace is a pod's folder; on the operator's own computer nothing is made there.
            workspace = str(Path.home() / ".gpuctl")
        options = WorkerOptions(
            workspace=workspace,
            python=settings.text("remote.python"),
            idle_s=settings.integer("remote.idle_unload_s"),
            secrets={"HF_TOKEN": token} if token else {},
        )
        return MachineLink(self.connector(), machine, options, self.console)
