"""Which registry answers for an image, and as whom we ask: the cloud's or the simulator's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gpuctl.clients.registry_api import Credentials, Registry
from gpuctl.config import Settings
from gpuctl.images.engines import Engine, Login
from gpuctl.images.references import DOCKER_HUB, Reference
from gpuctl.sim.launcher import Simulator

HUB_URL = "https://registry-1.docker.io"


@dataclass(frozen=True, slots=True)
class Mirror:
    """One registry that stands for all of them: the simulator's."""

    url: str
    account: Credentials


@dataclass(frozen=True, slots=True)
class Access:
    """`login` is the configured account, None without one; it is for its own registry alone."""

    login: Login | None
    timeout_s: float
    mirror: Mirror | None = None

    def login_for(self, reference: Reference) -> Login | None:
        """The account to push with; None leaves it to what the engine itself knows."""
        login = self.login
        return login if login and login.registry == reference.registry else None

    def registry(self, reference: Reference) -> Registry:
        """The client that reads and writes `reference`'s repository."""
        if self.mirror and not reference.is_loopback:
            return Registry(
                self.mirror.url,
                _mirrored(reference),
                name=str(reference),
                credentials=self.mirror.account,
                timeout_s=self.timeout_s,
            )
        login = self.login_for(reference)
        return Registry(
            address(reference),
            reference.repository,
            name=str(reference),
            credentials=Credentials(login.username, login.password) if login else None,
            timeout_s=self.timeout_s,
        )


def access(settings: Settings, simulator: Simulator | None) -> Access:
    """From the section `dockerhub`: registry, username and token; or the simulator's alone."""
    mirror = None
    if simulator is not None:
        account = Credentials("simulator", simulator.registry_password)
        mirror = Mirror(simulator.registry_url, account)
    username = settings.text_or_none("dockerhub.username")
    token = settings.secret("dockerhub.token")
    login = None
    if username and token and mirror is None:
        login = Login(settings.text("dockerhub.registry"), username, token)
    return Access(login, settings.number("images.timeout_s"), mirror)


def engine(settings: Settings, kept: Path | None, registries: Callable[[], Access]) -> Engine:
    """What builds images here: with a folder to keep them in it is the simulator's.

    Raises MissingDependency where there is no other.
    """
    if kept is not None:
        from gpuctl.images.simulated import SimulatedEngine  # noqa: PLC0415  only with --sim

        return SimulatedEngine(kept, lambda reference: registries().registry(reference))
    from gpuctl.images import detection  # noqa: PLC0415  only without

    return detection.engine(settings.text("images.engine"))


def address(reference: Reference) -> str:
    """Docker's own rule: TLS everywhere but on this computer."""
    if reference.registry == DOCKER_HUB:
        return HUB_URL
    return f"{'http' if reference.is_loopback else 'https'}://{reference.registry}"


def _mirrored(reference: Reference) -> str:
    if reference.registry == DOCKER_HUB:
        return reference.repository
    return f"{reference.registry.lower().replace(':', '-')}/{reference.repository}"
