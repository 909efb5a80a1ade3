"""Opens a shell on a machine: refreshes an address that moved, and pins host keys per machine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from gpuctl.errors import ConnectionFailed, CredentialsError, HostKeyChanged
from gpuctl.models import Machine, Pin, Report
from gpuctl.services.targets import LOCAL
from gpuctl.services.waiting import Clock, wait_for

if TYPE_CHECKING:
    from gpuctl.providers.base import Provider
    from gpuctl.remote.base import Shell

COMING = ("PROVISIONING", "STARTING", "RUNNING")
# A restarted pod has its address within seconds; one that never gets any must not hang a command.
ADDRESS_LIMIT_S = 120.0
ADDRESS_POLL_S = 1.0


class Memory(Protocol):
    """The part of State that connections need."""

    def remember(self, machine: Machine) -> None: ...
    def pin(self, pin: Pin) -> None: ...
    def pinned(self, machine_id: str) -> Pin | None: ...


@dataclass(frozen=True, slots=True)
class SshOptions:
    """How connections are made. Times in seconds, the window in bytes."""

    key: Path
    connect_timeout_s: float
    keepalive_s: int
    silence_limit_s: float
    window_bytes: int


class Connector:
    """Makes one connection per call. Keeps nothing open itself."""

    def __init__(
        self,
        options: SshOptions,
        memory: Memory,
        provider: Callable[[str], Provider],
        clock: Clock,
        report: Report,
        on_probe: Callable[[Shell, Machine], object] | None = None,
    ) -> None:
        """`on_probe` is given the first shell on a machine, before anything else is done there."""
        self._on_probe = on_probe
        self._options = options
        self._memory = memory
        self._provider = provider
        self._clock = clock
        self._report = report

    def connect(self, machine: Machine) -> Shell:
        """A shell on `machine`. When its stored address fails, the current one is read from the
        provider, stored, and tried once.

        Raises ConnectionFailed, HostKeyChanged, CredentialsError, NotFound (the machine is gone).
        """
        if machine.id == LOCAL:
            from gpuctl.remote.local import LocalShell  # noqa: PLC0415  only for --on local

            return LocalShell()
        if machine.address is None:
            machine = self.refreshed(machine)
        try:
            return self._open(machine)
        except HostKeyChanged:
            raise
        except ConnectionFailed as failure:
            if machine.provider == "host":
                raise
            current = self.refreshed(machine, because=failure)
            if current.address == machine.address:
                raise
            self._report.note(f"{machine.name} moved to {current.address}")
            return self._open(current)

    def probe(self, machine: Machine) -> None:
        """One attempt to use a machine: log in and count its GPUs.

        Raises ConnectionFailed while it cannot be reached, Unusable when GPUs are missing.
        """
        from gpuctl.remote.probes import GPUS  # noqa: PLC0415  with the first connection
        from gpuctl.services.booting import Unusable  # noqa: PLC0415  loaded: something boots

        with self._open(machine) as shell:
            if self._on_probe is not None:
                self._on_probe(shell, machine)
            gpus = GPUS.parse(shell.run(GPUS.argv, timeout_s=30.0))
        if len(gpus) < machine.gpu_count:
            raise Unusable(
                f"{machine.name} shows {len(gpus)} of {machine.gpu_count} GPUs to nvidia-smi"
            )

    def refreshed(self, machine: Machine, because: ConnectionFailed | None = None) -> Machine:
        """The machine as the provider sees it now, stored; one that is starting is waited for.

        Raises ConnectionFailed when it has no address, `because` when the provider may not be
        asked, NotFound when the machine is gone.
        """
        if machine.provider == "host":
            raise ConnectionFailed(f"{machine.name} has no address")
        try:
            current = self._until_addressed(machine)
        except CredentialsError:
            if because is not None:
                raise because from None
            raise
        if current.address is None:
            is_stopped = current.status == "EXITED"
            raise ConnectionFailed(
                f"{current.name} is {current.status} and has no ssh address",
                hint=f"gpuctl {'start' if is_stopped else 'status'} {current.name}",
            )
        return current

    def _until_addressed(self, machine: Machine) -> Machine:
        deadline = self._clock.now() + ADDRESS_LIMIT_S

        def settled() -> Machine | None:
            current = self._read(machine)
            is_coming = current.status in COMING and current.address is None
            return None if is_coming and self._clock.now() < deadline else current

        return wait_for(
            settled,
            timeout_s=ADDRESS_LIMIT_S,
            every_s=ADDRESS_POLL_S,
            clock=self._clock,
            on_wait=lambda _: self._report.step(f"{machine.name} is starting"),
            what=f"an address of {machine.name}",
        )

    def _read(self, machine: Machine) -> Machine:
        seen = self._provider(machine.provider).get(machine.id)
        current = replace(
            seen, workload=seen.workload or machine.workload, name=seen.name or machine.name
        )
        self._memory.remember(current)
        return current

    def _open(self, machine: Machine) -> Shell:
        from gpuctl.remote import host_keys, ssh  # noqa: PLC0415  only when something is dialled

        assert machine.address is not None
        options = self._options
        key, proxy_command = options.key, None
        pinned = self._memory.pinned(machine.id)
        known = [pinned.key] if pinned else self._known_hosts(machine)
        if machine.provider == "host":
            from gpuctl.remote import ssh_config  # noqa: PLC0415  plain hosts only

            host = ssh_config.resolve(machine.id)
            key = next((file for file in host.identity_files if file.is_file()), options.key)
            proxy_command = host.proxy_command
        return ssh.connect(
            machine.address,
            key=key,
            verify=lambda presented: self._verify(machine, presented),
            connect_timeout_s=options.connect_timeout_s,
            keepalive_s=options.keepalive_s,
            silence_limit_s=options.silence_limit_s,
            window_bytes=options.window_bytes,
            host_key_types=host_keys.key_types(*known) if known else (),
            proxy_command=proxy_command,
        )

    def _verify(self, machine: Machine, key: str) -> None:
        """Trust on first use, then only that key, or one whose change the provider explains."""
        assert machine.address is not None
        pinned = self._memory.pinned(machine.id)
        if pinned is None:
            self._check_known_hosts(machine, key)
            self._pin(machine, key)
        elif pinned.key != key:
            self._accept_explained(machine, pinned, key)

    def _known_hosts(self, machine: Machine) -> list[str]:
        """What the operator's own known_hosts says of a plain host."""
        if machine.provider != "host" or machine.address is None:
            return []
        from gpuctl.remote.host_keys import user_known_hosts  # noqa: PLC0415  paramiko comes anyway

        return sorted(user_known_hosts(machine.address.host, machine.address.port))

    def _check_known_hosts(self, machine: Machine, key: str) -> None:
        known = self._known_hosts(machine)
        if known and key not in known:
            address = machine.address
            assert address is not None
            raise HostKeyChanged(
                f"{address} shows a key that ~/.ssh/known_hosts does not have for it",
                hint=f"if that is right: ssh-keygen -R '[{address.host}]:{address.port}'",
            )

    def _accept_explained(self, machine: Machine, pinned: Pin, key: str) -> None:
        if machine.provider != "host":
            current = self.refreshed(machine)
            restarted = current.started_at != pinned.started_at
            moved = str(current.address) != pinned.address
            if current.address == machine.address and (restarted or moved):
                self._report.note(f"{machine.name} was restarted: its new host key is accepted")
                self._pin(current, key)
                return
        raise HostKeyChanged(
            f"{machine.name} shows another host key than before, and nothing explains it",
            hint="somebody may be in between. If the machine was rebuilt on purpose: "
            f"gpuctl config forget-key {machine.id}",
        )

    def _pin(self, machine: Machine, key: str) -> None:
        self._memory.pin(Pin(machine.id, key, str(machine.address), machine.started_at))
