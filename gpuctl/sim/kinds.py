"""The names of the faults, for the operator's list and for the server."""

from __future__ import annotations

FAULT_KINDS: dict[str, str] = {
    "create-500": "the pod is created, but the answer is a 500",
    "no-capacity": "a create is refused for lack of capacity; value = only GPU types containing it",
    "rate-limit": "a request is answered 429; value = Retry-After in seconds (1)",
    "html-502": "a request is answered by a proxy's HTML page with status 502",
    "insufficient-funds": "a create is refused with 402",
    "slow-start": "a pod takes value seconds (30) longer to start",
    "ssh-drop": "an SSH connection is cut; value = events:N, bytes:N or seconds:N (events:1)",
    "new-address": "running pods get a new port and host key at once; value = only this pod id",
    "disk-full": "writes in every workspace fail for lack of space, until cleared",
    "gpu-gone": "a started pod comes back with no GPU",
}

LASTING = frozenset({"disk-full"})
"""Faults that stay until they are cleared when no count is given."""
