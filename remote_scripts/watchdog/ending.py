"""Ends this pod with its own key: REST v2, then runpodctl, then GraphQL (facts: runpod.md §8)."""

from __future__ import annotations

import json
import os
import subprocess
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

API_URL = "https://api.runpod.io/v2"
GRAPHQL_URL = "https://api.runpod.io/graphql"
# The pod's key goes to its maker and to this computer (the simulator), nowhere else.
KEY_HOSTS = ("api.runpod.io",)
LOOPBACK = ("127.0.0.1", "localhost", "::1")
CALL_LIMIT_S = 20.0
PROGRAM_LIMIT_S = 60.0
# runpodctl changed its words; an old copy answers an unknown one with an error.
PROGRAMS = {
    "stop": (("pod", "stop"), ("stop", "pod")),
    "terminate": (("pod", "delete"), ("remove", "pod")),
}
MUTATIONS = {
    "stop": "mutation($id:String!){podStop(input:{podId:$id}){id}}",
    "terminate": "mutation($id:String!){podTerminate(input:{podId:$id})}",
}
QUERY = "query($id:String!){pod(input:{podId:$id}){id}}"


class Refused(Exception):
    """One way did not work; the text says why."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any, **__: Any) -> None:
        """A redirect would carry the key to another host."""


class Killer:
    """Knows who it is from the pod's environment, which sshd does not pass on (§8)."""

    def __init__(self, environ: dict[str, str], machine_id: str) -> None:
        """A lease that came to the wrong machine must not end it: `machine_id` is whose it is."""
        self._machine_id = machine_id
        self.pod_id = environ.get("RUNPOD_POD_ID", "")
        self._key = environ.get("RUNPOD_API_KEY", "")
        self._api = (environ.get("GPUCTL_API_URL") or API_URL).rstrip("/")
        is_real = not _is_loopback(self._api)
        self._graphql = environ.get("GPUCTL_GRAPHQL_URL") or (GRAPHQL_URL if is_real else "")

    def prove(self) -> str:
        """Which way takes the key, asked without changing anything. Raises Refused."""
        self._check_identity()
        try:
            self._call("GET", self._pod())
        except Refused as refusal:
            if not self._graphql:
                raise
            self._prove_graphql(refusal)
            return "graphql"
        return "v2"

    def end(self, action: str) -> str:
        """Asks for `stop` or `terminate`, each way in turn; names the one that was accepted.

        Raises Refused with every reason when none was.
        """
        self._check_identity()
        reasons = []
        for name, way in (("v2", self._v2), ("runpodctl", self._ctl), ("graphql", self._gql)):
            try:
                way(action)
            except Refused as refusal:
                reasons.append(f"{name}: {refusal}")
            else:
                return name
        raise Refused("; ".join(reasons))

    def _check_identity(self) -> None:
        if not self.pod_id or not self._key:
            raise Refused("RUNPOD_API_KEY and RUNPOD_POD_ID are not in the pod's environment")
        if self.pod_id != self._machine_id:
            raise Refused(f"this is {self.pod_id}, and the lease is that of {self._machine_id}")

    def _v2(self, action: str) -> None:
        self._call("POST", f"{self._pod()}/action", {"action": action})

    def _ctl(self, action: str) -> None:
        _program(action, self.pod_id)

    def _gql(self, action: str) -> None:
        if not self._graphql:
            raise Refused("not asked")
        answer = self._call(
            "POST", self._graphql, {"query": MUTATIONS[action], "variables": {"id": self.pod_id}}
        )
        if answer.get("errors"):
            raise Refused(str(answer["errors"])[:200])

    def _prove_graphql(self, refusal: Refused) -> None:
        answer = self._call(
            "POST", self._graphql, {"query": QUERY, "variables": {"id": self.pod_id}}
        )
        if not (answer.get("data") or {}).get("pod"):
            raise refusal

    def _pod(self) -> str:
        return f"{self._api}/pods/{quote(self.pod_id, safe='')}"

    def _call(self, method: str, url: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """The answer's object, {} when it has none. Raises Refused."""
        parts = urlsplit(url)
        is_own = _is_loopback(url)
        if not is_own and (parts.scheme != "https" or parts.hostname not in KEY_HOSTS):
            raise Refused(f"the key is not sent to {parts.hostname}")
        request = urllib.request.Request(
            url,
            data=None if body is None else json.dumps(body).encode(),
            method=method,
            headers={
                "Authorization": f"Bearer {self._key}",
                "Content-Type": "application/json",
                "User-Agent": "gpuctl-watchdog",
            },
        )
        proxies = [urllib.request.ProxyHandler({})] if is_own else []
        try:
            opener = urllib.request.build_opener(_NoRedirect, *proxies)
            with opener.open(request, timeout=CALL_LIMIT_S) as answer:
                found = json.loads(answer.read() or b"{}")
        except urllib.error.HTTPError as error:
            error.close()
            raise Refused(f"answered {error.code}") from error
        except (OSError, ValueError) as error:
            raise Refused(f"{type(error).__name__}: {error}"[:200]) from error
        return found if isinstance(found, dict) else {}


def environment() -> dict[str, str]:
    """Our own, over that of PID 1, over the dump that RunPod's start script leaves."""
    return {**_dumped(), **_of_init(), **os.environ}


def _of_init() -> dict[str, str]:
    try:
        entries = Path("/proc/1/environ").read_bytes().split(b"\0")
    except OSError:
        return {}
    pairs = (entry.decode(errors="replace").partition("=") for entry in entries if b"=" in entry)
    return {name: value for name, _, value in pairs}


def _dumped(path: str = "/etc/rp_environment") -> dict[str, str]:
    try:
        lines = Path(path).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return {}
    pairs = (line.removeprefix("export ").partition("=") for line in lines)
    return {name.strip(): value.strip().strip("\"'") for name, _, value in pairs if value}


def _program(action: str, pod_id: str) -> None:
    said = "not installed"
    for words in PROGRAMS[action]:
        try:
            done = subprocess.run(
                ["runpodctl", *words, pod_id],
                capture_output=True,
                text=True,
                timeout=PROGRAM_LIMIT_S,
                check=False,
            )
        except FileNotFoundError:
            break
        except (OSError, subprocess.TimeoutExpired) as error:
            said = type(error).__name__
            continue
        if done.returncode == 0:
            return
        said = (done.stderr or done.stdout).strip()[-200:]
    raise Refused(said)


def _is_loopback(url: str) -> bool:
    return urlsplit(url).hostname in LOOPBACK
