"""Dollars as time: what a machine costs with its disks, and when a sum will be spent."""

from __future__ import annotations

from dataclasses import dataclass, replace

from gpuctl.errors import BudgetRefused, GpuctlError
from gpuctl.models import Secret

WARN_AT, DRAIN_AT, END_AT = 0.80, 0.95, 1.0
HOURS_A_MONTH = 730.0
# USD for a GB and month (runpod.md §7.1): disks of a running pod, the volume of a stopped one.
DISK_USD_GB_MONTH, STOPPED_USD_GB_MONTH = 0.10, 0.20


@dataclass(frozen=True, slots=True)
class Storage:
    """The disks that come and go with a machine. A network volume is billed with or without it."""

    disk_gb: float = 0.0
    volume_gb: float = 0.0

    @property
    def running_usd_h(self) -> float:
        return (self.disk_gb + self.volume_gb) * DISK_USD_GB_MONTH / HOURS_A_MONTH

    @property
    def stopped_usd_h(self) -> float:
        return self.volume_gb * STOPPED_USD_GB_MONTH / HOURS_A_MONTH


@dataclass(frozen=True, slots=True)
class Spending:
    """USD spent until `counted_at` (Unix seconds), and the rate since then in USD an hour."""

    spent_usd: float
    counted_at: float
    rate_usd_h: float

    def at(self, moment: float) -> float:
        return self.spent_usd + self.rate_usd_h * max(0.0, moment - self.counted_at) / 3600

    def changed(self, rate_usd_h: float, now: float) -> Spending:
        """The same purse at another rate from now on."""
        return replace(self, spent_usd=self.at(now), counted_at=now, rate_usd_h=rate_usd_h)

    def reaches(self, usd: float) -> float | None:
        """When so much is spent, in Unix seconds; None when it never is at this rate."""
        if usd <= self.spent_usd:
            return self.counted_at
        if self.rate_usd_h <= 0:
            return None
        return self.counted_at + (usd - self.spent_usd) / self.rate_usd_h * 3600


def known_balance(graphql_url: str | None, key: Secret | None, timeout_s: float) -> float | None:
    """What the account holds in USD; None where nobody tells (GraphQL alone knows, §0)."""
    if not graphql_url or key is None:
        return None
    from gpuctl.clients import accounts  # noqa: PLC0415  the wire, only with a budget

    try:
        told = accounts.runpod_balance(graphql_url, key, timeout_s).get("clientBalance")
    except GpuctlError:
        return None
    return float(told) if isinstance(told, int | float) else None


def refuse_hopeless(
    budget_usd: float | None,
    *,
    rate_usd_h: float,
    boot_limit_s: float,
    balance_usd: float | None = None,
) -> None:
    """Raises BudgetRefused when the sum might be gone before the machine is usable, or is more
    than the account holds. A balance of None is unknown, and no reason to refuse."""
    if budget_usd is None:
        return
    allowance_usd = rate_usd_h * boot_limit_s / 3600
    if budget_usd < allowance_usd:
        raise BudgetRefused(
            f"a budget of ${budget_usd:.2f} may be gone before the machine is usable: "
            f"booting may cost ${allowance_usd:.2f} (${rate_usd_h:.2f}/h for "
            f"{boot_limit_s / 60:.0f} min)",
            hint="give more, a cheaper GPU, or a shorter runpod.boot_limit_s",
        )
    if balance_usd is not None and budget_usd > balance_usd:
        raise BudgetRefused(
            f"the account holds ${balance_usd:.2f}, less than the budget of ${budget_usd:.2f}",
            hint="top up the account, or give a smaller --budget",
        )
