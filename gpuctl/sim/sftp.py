"""SFTP confined to one pod's folder, with /workspace where the pod's workspace is."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, TypeVar

import paramiko
from paramiko import SFTPAttributes, SFTPServer
from paramiko.sftp import SFTP_OK, SFTP_PERMISSION_DENIED

from gpuctl.sim.box import Box

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


Answer = TypeVar("Answer")


class Outside(OSError):
    """The path leads out of the pod."""

    def __init__(self) -> None:
        super().__init__(errno.EACCES, "outside the pod")


class PodFiles(paramiko.SFTPServerInterface):
    """`disk_is_full` is asked before each write."""

    def __init__(
        self, server: paramiko.ServerInterface, box: Box, disk_is_full: Callable[[], bool]
    ) -> None:
        super().__init__(server)
        self._box = box
        self._disk_is_full = disk_is_full
        self._roots = [box.folder] if box.volume is None else [box.folder, box.volume]

    def canonicalize(self, path: str) -> str:
        return os.path.normpath(PurePosixPath("/root") / path)

    def list_folder(self, path: str) -> list[SFTPAttributes] | int:
        def entries() -> list[SFTPAttributes]:
            folder = self._real(path)
            return [
                SFTPAttributes.from_stat(entry.lstat(), filename=entry.name)
                for entry in folder.iterdir()
            ]

        return _answer(entries)

    def stat(self, path: str) -> SFTPAttributes | int:
        return _answer(lambda: SFTPAttributes.from_stat(self._real(path).stat()))

    def lstat(self, path: str) -> SFTPAttributes | int:
        return _answer(lambda: SFTPAttributes.from_stat(self._entry(path).lstat()))

    def open(self, path: str, flags: int, attr: SFTPAttributes) -> paramiko.SFTPHandle | int:
        def opened() -> paramiko.SFTPHandle:
            if flags & (os.O_CREAT | os.O_TRUNC):
                self._need_space()
            mode = (attr.st_mode or 0o666) & 0o777
            handle = os.open(self._real(path), flags, mode)
            return _handle(handle, flags, self._need_space)

        return _answer(opened)

    def remove(self, path: str) -> int:
        return _status(lambda: self._entry(path).unlink())

    def rename(self, oldpath: str, newpath: str) -> int:
        def moved() -> None:
            target = self._entry(newpath)
            if target.exists():  # SFTP's plain rename never replaces
                raise OSError(errno.EEXIST, "exists")
            self._entry(oldpath).rename(target)

        return _status(moved)

    def posix_rename(self, oldpath: str, newpath: str) -> int:
        return _status(lambda: self._entry(oldpath).replace(self._entry(newpath)))

    def mkdir(self, path: str, attr: SFTPAttributes) -> int:  # noqa: ARG002  paramiko's signature
        def made() -> None:
            self._need_space()
            self._entry(path).mkdir()

        return _status(made)

    def rmdir(self, path: str) -> int:
        return _status(lambda: self._entry(path).rmdir())

    def chattr(self, path: str, attr: SFTPAttributes) -> int:
        return _status(lambda: SFTPServer.set_file_attr(str(self._real(path)), attr))

    def readlink(self, path: str) -> str | int:
        return _answer(lambda: str(self._entry(path).readlink()))

    def symlink(self, target_path: str, path: str) -> int:
        return _status(lambda: self._entry(path).symlink_to(target_path))

    def _need_space(self) -> None:
        if self._disk_is_full():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _entry(self, path: str) -> Path:
        """The directory entry itself, its folder resolved and confined."""
        mapped = self._mapped(path)
        parent = mapped.parent.resolve()
        self._confine(parent)
        return parent / mapped.name

    def _real(self, path: str) -> Path:
        resolved = self._mapped(path).resolve()
        self._confine(resolved)
        return resolved

    def _mapped(self, path: str) -> Path:
        """Paths as the pod's commands print them (inside its folder) are taken as they are."""
        wanted = PurePosixPath(self.canonicalize(path))
        if any(wanted.is_relative_to(root) for root in self._roots):
            return Path(wanted)
        return self._box.folder / wanted.relative_to("/")

    def _confine(self, resolved: Path) -> None:
        if not any(resolved.is_relative_to(root.resolve()) for root in self._roots):
            raise Outside


class _File(paramiko.SFTPHandle):
    def __init__(self, handle: int, flags: int, need_space: Callable[[], None]) -> None:
        super().__init__(flags)
        self._handle = handle
        self._flags = flags
        self._need_space = need_space

    def read(self, offset: int, length: int) -> bytes | int:
        try:
            return os.pread(self._handle, length, offset)
        except OSError as problem:
            return _code(problem)

    def write(self, offset: int, data: ReadableBuffer) -> int:
        def written() -> None:
            self._need_space()
            if self._flags & os.O_APPEND:
                os.write(self._handle, data)
            else:
                os.pwrite(self._handle, data, offset)

        return _status(written)

    def stat(self) -> SFTPAttributes | int:
        return _answer(lambda: SFTPAttributes.from_stat(os.fstat(self._handle)))

    def chattr(self, attr: SFTPAttributes) -> int:
        def changed() -> None:
            if attr.st_size is not None:
                os.ftruncate(self._handle, attr.st_size)
            if attr.st_mode is not None:
                os.fchmod(self._handle, attr.st_mode & 0o7777)

        return _status(changed)

    def close(self) -> None:
        os.close(self._handle)


def _handle(handle: int, flags: int, need_space: Callable[[], None]) -> paramiko.SFTPHandle:
    return _File(handle, flags, need_space)


def _status(action: Callable[[], object]) -> int:
    try:
        action()
    except OSError as problem:
        return _code(problem)
    return SFTP_OK


def _answer(action: Callable[[], Answer]) -> Answer | int:
    try:
        return action()
    except OSError as problem:
        return _code(problem)


def _code(problem: OSError) -> int:
    if isinstance(problem, Outside):
        return SFTP_PERMISSION_DENIED
    return SFTPServer.convert_errno(problem.errno or errno.EIO)
