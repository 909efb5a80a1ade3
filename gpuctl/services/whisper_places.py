"""Ways to a transcription service: through a tunnel to a machine, or straight to a URL."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import urlsplit

from gpuctl.clients import whisper_live
from gpuctl.clients.whisper_live import LiveConnection, Options
from gpuctl.clients.whisper_rest import Get, Rest, getter
from gpuctl.errors import ConnectionFailed, HostKeyChanged, NotFound, UsageError
from gpuctl.models import Json, Machine, Report, Secret
from gpuctl.services import whisper_checks
from gpuctl.services.links import MachineLink
from gpuctl.services.waiting import Clock
from gpuctl.workloads import whisper
from gpuctl.workloads.whisper import HEALTH_PORT, REST_PORT, WHISPER_PORT

_SECURE = {"ws": "http", "wss": "https", "http": "http", "https": "https"}
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


class Place(Protocol):
    """Where a transcription service is. `machine` None = somebody else's, of unknown price."""

    @property
    def name(self) -> str: ...
    @property
    def machine(self) -> Machine | None: ...

    def dial(self, options: Options, ready_limit_s: float) -> LiveConnection:
        """Raises ConnectionFailed, ServerFull, CredentialsError, JobFailed."""
        ...

    def get(self, path: str) -> tuple[int, Json]:
        """Asks the health port. Raises ConnectionFailed."""
        ...

    def rest(self) -> Rest | None:
        """Its REST side, where it has one."""
        ...

    def awake(self, clock: Clock, report: Report, limit_s: float) -> None:
        """Returns when it takes clients. Raises NotFound, TimedOut, ValidationFailed."""
        ...


@dataclass(slots=True)
class UrlPlace:
    """A WebSocket URL; health and REST are guessed beside it, as our own service lays them out."""

    url: str
    token: Secret | None = None
    machine: Machine | None = None
    name: str = ""

    def dial(self, options: Options, ready_limit_s: float) -> LiveConnection:
        return whisper_live.connect(
            self.url, options, token=self._token_for(self.url), ready_limit_s=ready_limit_s
        )

    def get(self, path: str) -> tuple[int, Json]:
        base = beside(self.url, HEALTH_PORT)
        return getter(base, token=self._token_for(base))(path)

    def rest(self) -> Rest | None:
        base = beside(self.url, REST_PORT)
        found = Rest(base, self._token_for(base))
        return found if found.health() is not None else None

    def awake(self, clock: Clock, report: Report, limit_s: float) -> None:
        """A WhisperLive that is not ours has no health port: the handshake will tell."""

    def _token_for(self, url: str) -> Secret | None:
        """Never in the clear across a network."""
        parts = urlsplit(url)
        is_safe = parts.scheme in ("wss", "https") or parts.hostname in _LOOPBACK
        return self.token if is_safe else None


@dataclass(slots=True)
class TunnelPlace:
    """A machine's own loopback, over its ssh connection, which is made again when it is lost."""

    link: MachineLink
    token: Secret | None = None
    _ports: dict[int, int] = field(default_factory=dict)
    _open: ExitStack = field(default_factory=ExitStack)

    @property
    def machine(self) -> Machine | None:
        return self.link.machine

    @property
    def name(self) -> str:
        return self.link.machine.name

    def dial(self, options: Options, ready_limit_s: float) -> LiveConnection:
        had_tunnel = WHISPER_PORT in self._ports
        try:
            return self._dial(options, ready_limit_s)
        except HostKeyChanged:
            raise
        except ConnectionFailed:
            if not had_tunnel:
                raise
        self.renew()
        return self._dial(options, ready_limit_s)

    def _dial(self, options: Options, ready_limit_s: float) -> LiveConnection:
        url = f"ws://127.0.0.1:{self._port(WHISPER_PORT)}"
        return whisper_live.connect(url, options, token=self.token, ready_limit_s=ready_limit_s)

    def get(self, path: str) -> tuple[int, Json]:
        return self._getter()(path)

    def _getter(self) -> Get:
        return getter(f"http://127.0.0.1:{self._port(HEALTH_PORT)}", token=self.token)

    def rest(self) -> Rest | None:
        if not self.link.open().listens(REST_PORT):
            return None
        found = Rest(f"http://127.0.0.1:{self._port(REST_PORT)}", self.token)
        return found if found.health() is not None else None

    def awake(self, clock: Clock, report: Report, limit_s: float) -> None:
        shell = self.link.open()
        machine = self.link.machine
        if shell.listens(HEALTH_PORT) or machine.workload == whisper.NAME:
            whisper_checks.until_ready(self.get, clock, limit_s=limit_s, report=report)
        elif not shell.listens(WHISPER_PORT):
            raise NotFound(
                f"no transcription service listens on {machine.name}",
                hint="gpuctl deploy whisper rents a machine that has one",
            )

    def renew(self) -> None:
        """A new connection and new tunnels. Raises ConnectionFailed."""
        self.close()
        self.link.reopen()

    def close(self) -> None:
        self._ports.clear()
        stack, self._open = self._open, ExitStack()
        with suppress(ConnectionFailed, OSError):
            stack.close()

    def _port(self, remote: int) -> int:
        if remote not in self._ports:
            shell = self.link.open()
            self._ports[remote] = self._open.enter_context(shell.forward(remote))
        return self._ports[remote]


@contextmanager
def tunnelled(link: MachineLink, token: Secret | None) -> Iterator[TunnelPlace]:
    """Closes the tunnels, and the link."""
    with link:
        place = TunnelPlace(link, token)
        try:
            yield place
        finally:
            place.close()


def of_url(url: str, token: Secret | None) -> UrlPlace:
    """Raises UsageError for what is no WebSocket URL."""
    parts = urlsplit(url)
    if parts.scheme not in _SECURE or not parts.hostname:
        raise UsageError(f"'{url}' is not a WebSocket URL", hint="ws://HOST:9090 or wss://…")
    if parts.username or parts.password:
        raise UsageError("a URL must hold no password", hint="gpuctl config set whisper.token")
    scheme = "wss" if parts.scheme in ("wss", "https") else "ws"
    return UrlPlace(parts._replace(scheme=scheme).geturl(), token, name=url)


def beside(url: str, port: int) -> str:
    """The HTTP address of another port of the service at this WebSocket URL."""
    parts = urlsplit(url)
    scheme = _SECURE[parts.scheme]
    host = parts.hostname or ""
    if host.endswith(".proxy.runpod.net"):
        pod = host.split("-")[0]
        return f"{scheme}://{pod}-{port}.proxy.runpod.net"
    shown = f"[{host}]" if ":" in host else host
    return f"{scheme}://{shown}:{port}"
