"""A model hub on loopback: enough of the Hugging Face API for its own client to fetch a model.

`tiny/flux` is there, `gated/flux` wants a licence accepted, everything else does not exist.
"""

from __future__ import annotations

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"
_REVISIONS = ("main", COMMIT)


class Hub(ThreadingHTTPServer):
    """Serves the pipeline in `folder`. `requests` lists the paths asked for."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder, self.requests = folder, list[str]()
        paths = sorted(path for path in folder.rglob("*") if path.is_file())
        self.files = [str(path.relative_to(folder)) for path in paths]
        self.url = f"http://127.0.0.1:{self.server_port}"
        self._thread = threading.Thread(target=self.serve_forever, daemon=True)

    def __enter__(self) -> Hub:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Hub

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        self.server.requests.append(path)
        parts = path.removeprefix("/api/models").strip("/").split("/")
        owner, verb, revision, *rest = [*parts[:1], *parts[2:], "", ""]
        if owner == "gated":
            self._refuse(403, "GatedRepo")
        elif owner != "tiny":
            self._refuse(401, "RepoNotFound")
        elif revision and revision not in _REVISIONS:
            self._refuse(404, "RevisionNotFound")
        else:
            self._answer(verb, "/".join(part for part in rest if part))

    do_HEAD = do_GET

    def log_message(self, format: str, *args: object) -> None:
        """Silent."""

    def _answer(self, verb: str, name: str) -> None:
        if verb == "resolve":
            self._file(name)
        elif verb == "tree":
            self._json([_entry(self.server.folder, name) for name in self.server.files])
        else:
            siblings = [{"rfilename": name} for name in self.server.files]
            self._json({"id": "tiny/flux", "sha": COMMIT, "siblings": siblings})

    def _refuse(self, status: int, code: str) -> None:
        self._send(status, b"{}", {"X-Error-Code": code, "X-Error-Message": code})

    def _json(self, document: object) -> None:
        self._send(200, json.dumps(document).encode(), {"Content-Type": "application/json"})

    def _file(self, name: str) -> None:
        if name not in self.server.files:
            self._refuse(404, "EntryNotFound")
            return
        content = (self.server.folder / name).read_bytes()
        etag = hashlib.sha256(content).hexdigest()
        self._send(200, content, {"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT})

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _entry(folder: Path, name: str) -> dict[str, object]:
    content = (folder / name).read_bytes()
    oid = hashlib.sha1(content, usedforsecurity=False).hexdigest()
    return {"type": "file", "path": name, "size": len(content), "oid": oid}
