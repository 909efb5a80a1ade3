"""The registry of workloads."""

from __future__ import annotations

from gpuctl.workloads import flux
from gpuctl.workloads.base import Workload

WORKLOADS: dict[str, Workload] = {flux.NAME: flux}
