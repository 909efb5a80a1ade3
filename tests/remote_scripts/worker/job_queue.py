"""RunPod's job queue as the worker SDK sees it, on loopback (feasibility.md §5)."""

from __future__ import annotations

import json
import queue
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

POLL_S = 1.0
FINAL = ("COMPLETED", "FAILED")


class JobQueue:
    """Hands out jobs and keeps what comes back. A final state is never overwritten."""

    def __init__(self) -> None:
        self.jobs: dict[str, dict[str, Any]] = {}
        self._waiting: queue.Queue[dict[str, Any]] = queue.Queue()
        self._to_stop: queue.Queue[str] = queue.Queue()
        self._server = ThreadingHTTPServer(
            ("127.0.0.1", 0), type("Bound", (_Handler,), {"q": self})
        )
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def environment(self) -> dict[str, str]:
        """`$ID` and `$RUNPOD_POD_ID` stay literal: the SDK replaces them."""
        base = f"http://127.0.0.1:{self._server.server_port}/v2/ep"
        return {
            "RUNPOD_WEBHOOK_GET_JOB": f"{base}/job-take/$ID?gpu=x",
            "RUNPOD_WEBHOOK_POST_OUTPUT": f"{base}/job-done/$RUNPOD_POD_ID/$ID?gpu=x",
            "RUNPOD_WEBHOOK_POST_STREAM": f"{base}/job-stream/$RUNPOD_POD_ID/$ID?gpu=x",
            "RUNPOD_WEBHOOK_PING": f"{base}/ping/$RUNPOD_POD_ID",
            "RUNPOD_PING_INTERVAL": "1000",
            "RUNPOD_AI_API_KEY": "wk",
            "RUNPOD_POD_ID": "w1",
            "RUNPOD_ENDPOINT_ID": "ep",
            "RUNPOD_SKIP_AUTO_SYSTEM_CHECKS": "true",
        }

    def put(self, job_id: str, **given: Any) -> None:
        self.jobs[job_id] = {"status": "IN_QUEUE", "progress": []}
        self._waiting.put({"id": job_id, "input": given})

    def cancel(self, job_id: str) -> None:
        self._to_stop.put(job_id)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, path: str) -> dict[str, Any] | None:
        """What a GET says; None for 204."""
        try:
            if "/job-take/" in path:
                return self._waiting.get(timeout=POLL_S)
            if "/job-stop/" in path:
                return {"jobsToStop": [self._to_stop.get(timeout=POLL_S)]}
        except queue.Empty:
            return None
        return {}

    def take_in(self, job_id: str, said: dict[str, Any]) -> None:
        job = self.jobs[job_id]
        if said.get("status") == "IN_PROGRESS":
            job["progress"].append(said.get("output"))
        elif job["status"] not in FINAL:
            job.update(said, status="FAILED" if "error" in said else "COMPLETED")


class _Handler(BaseHTTPRequestHandler):
    q: JobQueue

    def do_GET(self) -> None:
        self._say(self.q.answer(self.path))

    def do_POST(self) -> None:
        said = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if "/job-done/" in self.path:
            self.q.take_in(self.path.split("?")[0].rsplit("/", 1)[1], said)
        self._say({})

    def _say(self, answer: dict[str, Any] | None) -> None:
        body = b"" if answer is None else json.dumps(answer).encode()
        self.send_response(204 if answer is None else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass
