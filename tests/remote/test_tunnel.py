"""A tunnel leads to the machine's loopback while it is needed, and leaves nothing behind."""

from __future__ import annotations

import http.server
import socket
import threading
from collections.abc import Iterator

import pytest

from gpuctl.remote.base import Shell


class Echo(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        return


@pytest.fixture
def service() -> Iterator[int]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Echo) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=[0.01])
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def post(port: int, body: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), 10) as sock:
        head = f"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(body)}"
        sock.sendall(head.encode() + b"\r\n\r\n" + body)
        answer = b"".join(iter(lambda: sock.recv(65536), b""))
    return answer.partition(b"\r\n\r\n")[2]


def test_requests_reach_the_service_and_answers_come_back(shell: Shell, service: int) -> None:
    body = bytes(range(256)) * 4000
    with shell.forward(service) as port:
        assert post(port, b"first") == b"first"
        assert post(port, body) == body


def test_many_connections_share_one_tunnel(shell: Shell, service: int) -> None:
    answers: dict[int, bytes] = {}

    def ask(number: int) -> None:
        answers[number] = post(port, b"%d" % number * 5000)

    with shell.forward(service) as port:
        threads = [threading.Thread(target=ask, args=[number]) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
    assert answers == {number: b"%d" % number * 5000 for number in range(8)}


@pytest.mark.sshd
def test_a_port_where_nothing_listens_closes_the_connection_and_not_the_tunnel(
    request: pytest.FixtureRequest, service: int
) -> None:
    shell = request.getfixturevalue("connect")(request.getfixturevalue("shared_sshd"))
    with shell.forward(1) as port, socket.create_connection(("127.0.0.1", port), 10) as sock:
        assert sock.recv(1) == b""
    with shell.forward(service) as port:
        assert post(port, b"fine") == b"fine"


@pytest.mark.sshd
def test_the_end_of_a_tunnel_ends_its_port_its_connections_and_its_threads(
    request: pytest.FixtureRequest, service: int
) -> None:
    shell = request.getfixturevalue("connect")(request.getfixturevalue("shared_sshd"))
    before = tunnels()
    with shell.forward(service) as port:
        idle = socket.create_connection(("127.0.0.1", port), 10)
        idle.sendall(b"POST")
    with idle:
        assert is_ended(idle)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), 10)
    assert tunnels() == before
    assert shell.run(["echo", "alive"]).stdout == "alive\n"


def tunnels() -> int:
    return sum(thread.name == "tunnel" for thread in threading.enumerate())


def is_ended(sock: socket.socket) -> bool:
    try:
        return sock.recv(1) == b""
    except ConnectionResetError:  # It had not been accepted yet.
        return True
