"""RunPod's REST v2 as it is on the wire: values in, JSON objects out, read leniently."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

from gpuctl.clients.http import Http, ServerEvent
from gpuctl.errors import ApiError
from gpuctl.models import Json, Secret

PAGE_LIMIT = 1000
MOST_PAGES = 100


class RunpodApi:
    """The calls gpuctl makes (facts: runpod.md §1–§7). Errors are those of clients/http.py."""

    def __init__(self, http: Http) -> None:
        self.http = http

    # pods

    def list_pods(self) -> list[Json]:
        return list(self._pages("/pods", "pods"))

    def create_pod(self, body: Json) -> Json:
        """May start billing. An ApiError without `status` means: nobody knows whether it did."""
        pod = self.http.send("POST", "/pods", body)
        if not pod.get("id"):
            raise ApiError("RunPod created a pod but did not say which", details={"answer": pod})
        return pod

    def get_pod(self, pod_id: str) -> Json:
        return self.http.get(_pod(pod_id))

    def patch_pod(self, pod_id: str, body: Json) -> Json:
        return self.http.send("PATCH", _pod(pod_id), body)

    def delete_pod(self, pod_id: str) -> None:
        self.http.send("DELETE", _pod(pod_id))

    def act(self, pod_id: str, action: str) -> Json:
        """`action` is start, stop, restart or terminate."""
        return self.http.send("POST", f"{_pod(pod_id)}/action", {"action": action})

    def pod_logs(
        self,
        pod_id: str,
        *,
        source: str | None = None,
        tail: int = 100,
        quiet_s: float | None = None,
        since: str | None = None,
        last_event_id: str | None = None,
    ) -> Iterator[Json]:
        """`{"id", "source", "line", "ts"}` each. `source` is container, system, or None for both.

        `last_event_id` wins over `since` (RFC 3339), and that over `tail` (§2.5). The service never
        ends the stream: it ends after `quiet_s` of silence, if given.
        """
        params = {"tail": str(tail), **({"source": source} if source else {})}
        if since:
            params["since"] = since
        for event in self.http.events(
            f"{_pod(pod_id)}/logs", params, quiet_s=quiet_s, last_event_id=last_event_id
        ):
            yield _line(event)

    # the account's ssh keys

    def ssh_keys(self) -> list[str]:
        return [str(key) for key in self._list(self.http.get(_KEYS), "keys")]

    def add_ssh_key(self, key: str) -> bool:
        """Adds one key, keeping the others: PUT replaces the whole set. False: it was there."""
        keys = self.ssh_keys()
        if _bare(key) in [_bare(known) for known in keys]:
            return False
        self.http.send("PUT", _KEYS, {"keys": [*keys, key.strip()]})
        return True

    # catalogue and volumes

    def gpus(self, *, cloud: str, count: int = 1, min_cuda: str | None = None) -> list[Json]:
        """GPU types with list prices per card and what is in stock in `cloud` for `count` cards."""
        params = {"include": "AVAILABILITY", "product": "POD", "count": str(count), "cloud": cloud}
        if min_cuda:
            params["minCudaVersion"] = min_cuda
        return self._objects(self.http.get("/catalog/gpus", params), "gpus")

    def data_centers(self) -> list[Json]:
        params = {"include": "GPU_AVAILABILITY"}
        return self._objects(self.http.get("/catalog/datacenters", params), "dataCenters")

    def network_volumes(self) -> list[Json]:
        return self._objects(self.http.get("/network-volumes"), "networkVolumes")

    def network_volume(self, volume_id: str) -> Json:
        return self.http.get(_volume(volume_id))

    def list_prices(self) -> list[Json]:
        """GPU types with their prices per card and hour, serverless included; no stock."""
        return self._objects(self.http.get("/catalog/gpus"), "gpus")

    def create_volume(self, body: Json) -> Json:
        """Starts billing. `size` in GB; the data centre is called `dataCenter` (runpod.md §7.1)."""
        volume = self.http.send("POST", "/network-volumes", body)
        if not volume.get("id"):
            raise ApiError("RunPod made a volume but did not say which", details={"answer": volume})
        return volume

    def patch_volume(self, volume_id: str, body: Json) -> Json:
        return self.http.send("PATCH", _volume(volume_id), body)

    def delete_volume(self, volume_id: str) -> None:
        self.http.send("DELETE", _volume(volume_id))

    # serverless endpoints

    def list_endpoints(self) -> list[Json]:
        return list(self._pages("/serverless", "endpoints"))

    def create_endpoint(self, body: Json, secrets: Mapping[str, Secret]) -> Json:
        """`secrets` go into its environment. With workers that always run it starts billing."""
        endpoint = self.http.send("POST", "/serverless", _with_secrets(body, secrets))
        if not endpoint.get("id"):
            raise ApiError("RunPod made an endpoint but did not say which")
        return endpoint

    def get_endpoint(self, endpoint_id: str) -> Json:
        return self.http.get(_endpoint(endpoint_id))

    def endpoint_workers(self, endpoint_id: str) -> Json:
        """`{"workers", "summary", "endpointVersion"}` (§3.3)."""
        return self.http.get(f"{_endpoint(endpoint_id)}/workers")

    def endpoint_releases(self, endpoint_id: str) -> Json:
        return self.http.get(f"{_endpoint(endpoint_id)}/releases")

    def worker_logs(
        self, endpoint_id: str, worker_id: str, *, tail: int, quiet_s: float | None
    ) -> Iterator[Json]:
        """As `pod_logs`."""
        path = f"{_endpoint(endpoint_id)}/workers/{quote(worker_id, safe='')}/logs"
        for event in self.http.events(path, {"tail": str(tail)}, quiet_s=quiet_s):
            yield _line(event)

    def patch_endpoint(
        self, endpoint_id: str, body: Json, secrets: Mapping[str, Secret] | None = None
    ) -> Json:
        """`secrets` go into the `env` of the body, which replaces the one there is."""
        whole = _with_secrets(body, secrets) if secrets else body
        return self.http.send("PATCH", _endpoint(endpoint_id), whole)

    def delete_endpoint(self, endpoint_id: str) -> None:
        self.http.send("DELETE", _endpoint(endpoint_id))

    # bills

    def bills(self, kind: str, *, start: str, bucket: str) -> list[Json]:
        """What was billed since `start` (RFC 3339), one record for each thing and bucket.

        `kind` is pods, serverless or network-volumes; `bucket` hour, day, week, month or year.
        RunPod's own public endpoints are another path, and not asked for.
        """
        params = {"startTime": start, "bucketSize": bucket}
        return self._objects(self.http.get(f"/billing/{kind}", params), "records")

    # reading

    def _pages(self, path: str, key: str) -> Iterator[Json]:
        """Every item of a list. Older servers ignore `limit` and `cursor` and send all at once."""
        cursor, seen = None, set()
        for _ in range(MOST_PAGES):
            params = {"limit": str(PAGE_LIMIT), **({"cursor": cursor} if cursor else {})}
            page = self.http.get(path, params)
            yield from self._objects(page, key)
            cursor = _next_cursor(page)
            if cursor is None or cursor in seen:
                return
            seen.add(cursor)

    def _objects(self, page: Json, key: str) -> list[Json]:
        return [item for item in self._list(page, key) if isinstance(item, dict)]

    def _list(self, page: Json, key: str) -> list[Any]:
        """A list that is not there is an error: it must never pass for "there is nothing"."""
        found = page.get(key, page.get("items"))
        if not isinstance(found, list):
            raise ApiError(f"RunPod answered without the list of {key}")
        return found


_KEYS = "/account/ssh-keys"


def _pod(pod_id: str) -> str:
    return f"/pods/{quote(pod_id, safe='')}"


def _volume(volume_id: str) -> str:
    return f"/network-volumes/{quote(volume_id, safe='')}"


def _endpoint(endpoint_id: str) -> str:
    return f"/serverless/{quote(endpoint_id, safe='')}"


def _with_secrets(body: Json, secrets: Mapping[str, Secret]) -> Json:
    revealed = {name: secret.reveal() for name, secret in secrets.items()}
    return {**body, "env": {**body.get("env", {}), **revealed}}


def _line(event: ServerEvent) -> Json:
    """A line of a log, with the id that a later question would begin after."""
    try:
        line = json.loads(event.data)
    except ValueError:
        line = {"line": event.data}
    return {**(line if isinstance(line, dict) else {"line": event.data}), "id": event.id}


def _next_cursor(page: Json) -> str | None:
    pagination = page.get("pagination")
    if not isinstance(pagination, dict) or pagination.get("hasNextPage") is False:
        return None
    cursor = pagination.get("nextCursor")
    return cursor if isinstance(cursor, str) and cursor else None


def _bare(key: str) -> tuple[str, ...]:
    """Type and base64 of a public key, without its comment."""
    return tuple(key.split()[:2])
