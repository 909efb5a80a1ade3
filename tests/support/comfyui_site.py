"""A small https site on loopback that stands for the open internet, with faults to order."""

from __future__ import annotations

import datetime
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any

PUBLIC = "93.184.216.34"


@dataclass
class File:
    """`cut` answers end early so many times; `headers` are sent with it."""

    content: bytes
    headers: dict[str, str] = field(default_factory=dict)
    cut: int = 0
    location: str | None = None
    has_ranges: bool = True
    is_unmeasured: bool = False


@dataclass
class Site:
    """`looked_up` and `connected` are what a client asked the network for."""

    port: int
    context: ssl.SSLContext
    files: dict[str, File] = field(default_factory=dict)
    addresses: dict[str, list[str]] = field(default_factory=dict)
    looked_up: list[str] = field(default_factory=list)
    connected: list[str] = field(default_factory=list)
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    def resolve(self, host: str, port: int) -> list[str]:
        """Public unless the test says otherwise; numbers as the system reads them."""
        self.looked_up.append(host)
        if host in self.addresses:
            return self.addresses[host]
        try:
            return [str(socket.getaddrinfo(host, port, flags=socket.AI_NUMERICHOST)[0][4][0])]
        except OSError:
            return [PUBLIC]

    def connect(self, address: tuple[str, int], timeout_s: float) -> socket.socket:
        self.connected.append(address[0])
        return socket.create_connection(("127.0.0.1", self.port), timeout_s)

    def door(self) -> Any:
        from video.web import Door

        return Door(self.resolve, self.connect, self.context)


@contextmanager
def site(folder: Path) -> Iterator[Site]:
    """Serves until the block ends."""
    certificate, key = _certificate(folder)
    context = ssl.create_default_context(cafile=str(certificate))
    found = Site(0, context)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(found))
    outer = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    outer.load_cert_chain(certificate, key)
    server.socket = outer.wrap_socket(server.socket, server_side=True)
    found.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _handler(site: Site) -> type[BaseHTTPRequestHandler]:  # noqa: C901  one class
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            site.asked.append((self.path, dict(self.headers)))
            file = site.files.get(self.path)
            self.close_connection = True
            if file is None:
                self.send_error(404)
            elif file.location:
                self.send_response(302)
                self._send({**file.headers, "Location": file.location, "Content-Length": "0"})
            else:
                self._send_file(file)

        def _send_file(self, file: File) -> None:
            start = 0
            asked = self.headers.get("Range")
            if asked and file.has_ranges:
                start = int(asked.removeprefix("bytes=").partition("-")[0])
                if start >= len(file.content):
                    self.send_response(416)
                    self._send({"Content-Length": "0"})
                    return
            body = file.content[start:]
            self.send_response(206 if start else 200)
            length = {} if file.is_unmeasured else {"Content-Length": str(len(body))}
            self._send({**length, "ETag": '"1"', **file.headers})
            if file.cut:
                file.cut -= 1
                body = body[: len(body) // 2]
            self.wfile.write(body)

        def _send(self, headers: dict[str, str]) -> None:
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    return Handler


def _certificate(folder: Path) -> tuple[Path, Path]:
    """For every name the tests use, signed by itself."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.UTC)
    names = [x509.DNSName(host) for host in ("files.example", "other.example", "huggingface.co")]
    names.append(x509.IPAddress(ip_address(PUBLIC)))  # type: ignore[arg-type]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "site.pem", folder / "site.key"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return paths
