"""The private keys that may open a machine: one file, then the agent's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import paramiko
from paramiko.pkey import UnknownKeyType

_TRIES = 5
"""sshd drops the connection at its sixth (MaxAuthTries)."""


class Keys:
    """Yields keys in the order to try them and remembers what was tried, for the error."""

    def __init__(self, file: Path | None, *, use_agent: bool) -> None:
        self._file = file.expanduser() if file is not None else None
        self._use_agent = use_agent
        self._agent: paramiko.Agent | None = None
        self.tried: list[str] = []
        self.is_encrypted = False

    def __iter__(self) -> Iterator[paramiko.PKey]:
        seen = set()
        for key, name in self._candidates():
            if key.asbytes() in seen:
                continue
            seen.add(key.asbytes())
            self.tried.append(name)
            yield key
            if len(seen) == _TRIES:
                return

    def close(self) -> None:
        if self._agent is not None:
            self._agent.close()

    def _candidates(self) -> Iterator[tuple[paramiko.PKey, str]]:
        if self._file is not None and (key := self._load(self._file)) is not None:
            yield key, str(self._file)
        if self._use_agent:
            self._agent = paramiko.Agent()
            for held in self._agent.get_keys():
                yield held, f"agent key {held.comment or held.fingerprint}"

    def _load(self, path: Path) -> paramiko.PKey | None:
        try:
            return paramiko.PKey.from_path(path)
        except FileNotFoundError:
            self.tried.append(f"{path} (no such file)")
        except paramiko.PasswordRequiredException:
            self._note_encrypted(path)
        except TypeError:
            # cryptography says so when a password is needed and none was given.
            self._note_encrypted(path)
        except (ValueError, OSError, paramiko.SSHException, UnknownKeyType) as error:
            self.tried.append(f"{path} (not readable as a private key: {error})")
        return None

    def _note_encrypted(self, path: Path) -> None:
        self.is_encrypted = True
        self.tried.append(f"{path} (protected by a passphrase)")
