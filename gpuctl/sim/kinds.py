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
    "host-full": "a start or restart is refused: the GPUs of that host are taken",
    "server-error": "a request is answered 500; value = only paths containing it",
    "image-refused": "a create is refused with 422 for its image",
    "create-twice": "two pods of one name are created, and the answer is a 500",
    "delete-ignored": "an end is answered as done, but the pod goes on",
    "bad-image": "a pod's image is never found; it stays STARTING",
    "private-image": "a pod's image is denied; it stays STARTING",
    "image-too-large": "a pod's disk is too small for its image; it stays STARTING",
    "old-driver": "a pod's host has too old a driver; it goes ERROR",
    "no-address": "a pod runs without a public address",
    "crash-loop": "a pod runs, but its container ends and starts again and again",
    "platform-stop": "running pods are stopped at once by the platform; value = only this pod id",
    "vanish": "running pods are gone at once; value = only this pod id",
    "endpoint-kept": "the end of an endpoint is answered as done, but it goes on",
    "worker-killed": "a worker is killed in the middle of a job, which another is given",
    "worker-crash-loop": "workers end when they start, again and again, until cleared",
    "no-workers": "no GPU is free for workers, until cleared",
    "job-rate-limit": "a request of the job API is answered 429",
    "run-500": "a job is queued, but the answer is a 500",
    "lock": "running pods are locked at once; value = only this pod id",
    "ec2-no-capacity": "a launch is refused for lack of capacity; value = only types containing it",
    "ec2-quota": "the EC2 quota is value vCPUs (0), until cleared",
    "ec2-run-500": "the instance is launched, but the answer is a proxy's page with status 500",
    "ec2-slow-run": "the answer to a launch takes value seconds",
    "ec2-no-console": "an instance's console says nothing, until cleared",
    "ec2-host-key": "an instance's console tells another host key than it has, until cleared",
    "ec2-terminate-ignored": "the end of an instance is answered as done, but it goes on",
}

IMMEDIATE = frozenset({"new-address", "platform-stop", "vanish", "lock"})
"""Faults that strike what is there when they are asked for; they do not wait."""

LASTING = frozenset(
    {
        "disk-full",
        "worker-crash-loop",
        "no-workers",
        "ec2-quota",
        "ec2-no-console",
        "ec2-host-key",
    }
)
"""Faults that stay until they are cleared when no count is given."""
