"""What can go wrong, each with the exit code that scripts branch on.

GpuctlError                 1   failed
├── UsageError              2   the request itself is wrong
│   └── ConfigError         2   a configuration key or value is wrong
├── NotFound                3   no such machine, job, file, model
├── CredentialsError        4   missing, refused or insufficient credentials
│   └── GatedModel          4   the model's licence was not accepted, or no token
├── NoCapacity              5   every candidate was refused
├── BudgetRefused           6   budget, balance or lease forbids it
├── TimedOut                7   waited long enough; what was rented is released
├── ValidationFailed        8   a gate said no
├── StillBilling            9   unknown, or something is still billing: act
├── ConnectionFailed        1   the machine cannot be reached
│   └── HostKeyChanged      1   the machine is not the one that was pinned
├── ApiError                1   a provider answered with an error
├── JobFailed               1   the worker reported an error
├── TransferFailed          1   bytes did not arrive as they were sent
├── MissingDependency       1   a program or package is not installed
├── Interrupted           130   Ctrl-C
└── Detached              130   the operator stopped watching; the job goes on
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

EXIT_CODES: dict[int, str] = {
    0: "ok",
    1: "failed",
    2: "usage: the command line or the configuration is wrong",
    3: "not found",
    4: "credentials: missing, refused or insufficient",
    5: "no capacity: every candidate was refused",
    6: "budget or lease refused",
    7: "timed out; what was rented has been released",
    8: "validation failed",
    9: "unknown or still billing: act",
    130: "interrupted",
}


class PassedThrough(Exception):
    """Not an error: ends `ssh` and `exec` with the exit code of the remote command."""

    def __init__(self, exit_code: int) -> None:
        super().__init__(exit_code)
        self.exit_code = exit_code


class GpuctlError(Exception):
    """Something the operator can act on: what happened, and `hint`, what to type next."""

    exit_code: ClassVar[int] = 1
    code: ClassVar[str] = "failed"

    def __init__(
        self, message: str, *, hint: str | None = None, details: Mapping[str, object] | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details: dict[str, object] = dict(details or {})


class UsageError(GpuctlError):
    exit_code = 2
    code = "usage"


class ConfigError(UsageError):
    code = "config"


class NotFound(GpuctlError):
    exit_code = 3
    code = "not_found"


class CredentialsError(GpuctlError):
    exit_code = 4
    code = "credentials"


class GatedModel(CredentialsError):
    code = "gated_model"


class NoCapacity(GpuctlError):
    exit_code = 5
    code = "no_capacity"


class BudgetRefused(GpuctlError):
    exit_code = 6
    code = "budget"


class TimedOut(GpuctlError):
    exit_code = 7
    code = "timed_out"


class ValidationFailed(GpuctlError):
    exit_code = 8
    code = "validation"


class StillBilling(GpuctlError):
    exit_code = 9
    code = "still_billing"


class ConnectionFailed(GpuctlError):
    code = "unreachable"


class HostKeyChanged(ConnectionFailed):
    code = "host_key_changed"


class ApiError(GpuctlError):
    """A provider answered with an error. `status` is the HTTP status, None without an answer."""

    code = "api"

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        hint: str | None = None,
        details: Mapping[str, object] | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message, hint=hint, details=details)
        self.status = status
        self.retry_after_s = retry_after_s


class JobFailed(GpuctlError):
    """The worker reported an error; `worker_code` is its name for it (oom, disk_full, …)."""

    code = "job_failed"

    def __init__(
        self,
        message: str,
        *,
        worker_code: str = "failed",
        hint: str | None = None,
        details: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(
            message, hint=hint, details={**(details or {}), "worker_code": worker_code}
        )
        self.worker_code = worker_code


class TransferFailed(GpuctlError):
    code = "transfer"


class MissingDependency(GpuctlError):
    code = "missing_dependency"


class Interrupted(GpuctlError):
    exit_code = 130
    code = "interrupted"


class Detached(GpuctlError):
    exit_code = 130
    code = "detached"
