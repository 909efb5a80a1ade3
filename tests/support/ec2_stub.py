"""A loopback EC2 for one account: instances and disks per region, in its own XML."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

_NAMESPACE = 'xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"'


@dataclass
class Instance:
    id: str
    kind: str = "g4dn.xlarge"
    state: str = "running"
    tags: dict[str, str] = field(default_factory=dict)
    region: str = "us-east-1"


@dataclass
class Disk:
    id: str
    size_gb: int
    instance_id: str | None = None
    region: str = "us-east-1"


@dataclass
class Ec2Stub:
    """`refuses` answers everything with an authentication failure; `resists` ignores ends."""

    url: str = ""
    instances: list[Instance] = field(default_factory=list)
    disks: list[Disk] = field(default_factory=list)
    refuses: bool = False
    resists: bool = False
    calls: list[str] = field(default_factory=list)

    def answer(self, action: str, ids: list[str], region: str) -> str:
        self.calls.append(f"{action} {region}")
        if action == "DescribeVolumes":
            rows = [_disk(disk) for disk in self.disks if disk.region == region]
            return f"<volumeSet>{''.join(rows)}</volumeSet>"
        here = [each for each in self.instances if each.region == region]
        chosen = [each for each in here if not ids or each.id in ids]
        if action == "TerminateInstances":
            for each in [] if self.resists else chosen:
                each.state = "terminated"
            return "<instancesSet/>"
        items = "".join(map(_instance, chosen))
        return f"<reservationSet><item><instancesSet>{items}</instancesSet></item></reservationSet>"


@contextmanager
def ec2_stub() -> Iterator[Ec2Stub]:
    stub = Ec2Stub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"stub": stub}))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    stub.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield stub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    stub: Ec2Stub

    def do_POST(self) -> None:
        form = parse_qs(self.rfile.read(int(self.headers["content-length"])).decode())
        action = form["Action"][0]
        ids = [values[0] for name, values in form.items() if name.startswith("InstanceId.")]
        region = self.headers["authorization"].split("/")[2]
        if self.stub.refuses:
            error = "<Error><Code>AuthFailure</Code><Message>not you</Message></Error>"
            self._send(401, f"<Response><Errors>{error}</Errors></Response>")
            return
        body = self.stub.answer(action, ids, region)
        self._send(200, f"<{action}Response {_NAMESPACE}>{body}</{action}Response>")

    def _send(self, status: int, text: str) -> None:
        content = text.encode()
        self.send_response(status)
        self.send_header("content-type", "text/xml")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Tests print nothing."""


def _instance(instance: Instance) -> str:
    tags = "".join(
        f"<item><key>{key}</key><value>{value}</value></item>"
        for key, value in instance.tags.items()
    )
    return (
        f"<item><instanceId>{instance.id}</instanceId><instanceType>{instance.kind}</instanceType>"
        f"<instanceState><code>16</code><name>{instance.state}</name></instanceState>"
        f"<launchTime>2026-11-20T10:00:00.000Z</launchTime><tagSet>{tags}</tagSet></item>"
    )


def _disk(disk: Disk) -> str:
    use = f"<item><instanceId>{disk.instance_id}</instanceId></item>" if disk.instance_id else ""
    status = "in-use" if disk.instance_id else "available"
    return (
        f"<item><volumeId>{disk.id}</volumeId><size>{disk.size_gb}</size><status>{status}</status>"
        f"<volumeType>gp3</volumeType><attachmentSet>{use}</attachmentSet></item>"
    )
