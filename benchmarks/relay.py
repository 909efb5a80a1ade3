"""A long line in front of a loopback server: delays a TCP stream as a distant network would.

Each connection is one stream, not packets: every byte arrives `one_way_s` after it was sent, in
order, and any number of bytes may be under way up to a congestion window. That window starts at ten
segments, grows by what is acknowledged up to `window_bytes`, and starts again after an idle time,
as Linux does by default; on a `steady` line it is open from the start, as bbr keeps it. The
handshake is charged by opening the far side one and a half round trips after the near one. Not
modelled: loss, jitter, reordering, header overhead, limits of the receiver, and the packet that is
lost when a real slow start overshoots.

`python -m benchmarks.relay TARGET_PORT RTT_MS [steady]` prints the port it listens on (127.0.0.1).
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
import sys
from collections import deque
from pathlib import Path
from types import TracebackType
from typing import Self

SEGMENT_BYTES = 1448
FIRST_WINDOW_BYTES = 10 * SEGMENT_BYTES
# Linux lets a sender have this much under way by default (the limit of tcp_wmem).
WINDOW_BYTES = 4 << 20
READ_BYTES = 256 << 10
# The retransmission timeout, after which an idle sender starts slowly again, is at least 0.2 s.
IDLE_S = 0.2
STEADY = "steady"


class Direction:
    """Carries bytes from `source` to `sink`, each after `delay_s`, within the window."""

    def __init__(
        self,
        source: socket.socket,
        sink: socket.socket,
        delay_s: float,
        *,
        first_bytes: int,
        window_bytes: int,
    ) -> None:
        self._source, self._sink = source, sink
        self._delay_s = delay_s
        self._first_bytes = self._window_bytes = min(first_bytes, window_bytes)
        self._most_bytes = window_bytes
        self._flying_bytes = 0
        self._sent_at = 0.0
        self._line: deque[tuple[float, bytes]] = deque()
        self._changed = asyncio.Event()
        self._room = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    async def run(self) -> None:
        """Until the stream ends at both ends; an error of either side ends both."""
        await asyncio.gather(self._take(), self._give())

    async def _take(self) -> None:
        while True:
            while self._flying_bytes >= self._window_bytes:
                self._room.clear()
                await self._room.wait()
            data = await self._loop.sock_recv(
                self._source, min(READ_BYTES, self._window_bytes - self._flying_bytes)
            )
            now = self._loop.time()
            if now - self._sent_at > IDLE_S + 2 * self._delay_s:
                self._window_bytes = self._first_bytes
            self._sent_at = now
            self._flying_bytes += len(data)
            self._line.append((now + self._delay_s, data))
            self._changed.set()
            if not data:
                return

    async def _give(self) -> None:
        while True:
            while not self._line:
                self._changed.clear()
                await self._changed.wait()
            due, data = self._line.popleft()
            if (left := due - self._loop.time()) > 0:
                await asyncio.sleep(left)
            if not data:
                with contextlib.suppress(OSError):
                    self._sink.shutdown(socket.SHUT_WR)
                return
            await self._loop.sock_sendall(self._sink, data)
            self._loop.call_later(self._delay_s, self._acknowledge, len(data))

    def _acknowledge(self, count: int) -> None:
        self._flying_bytes -= count
        self._window_bytes = min(self._most_bytes, self._window_bytes + count)
        self._room.set()


class Line:
    """Accepts on a port of its own and relays to `target_port`; `rtt_s` is both ways together."""

    def __init__(
        self,
        target_port: int,
        rtt_s: float,
        *,
        is_steady: bool = False,
        window_bytes: int = WINDOW_BYTES,
    ) -> None:
        self._target = ("127.0.0.1", target_port)
        self._delay_s = rtt_s / 2
        self._windows = {
            "first_bytes": window_bytes if is_steady else FIRST_WINDOW_BYTES,
            "window_bytes": window_bytes,
        }
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            near, _ = await loop.sock_accept(listener)
            task = loop.create_task(self._connection(near))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _connection(self, near: socket.socket) -> None:
        far = socket.socket()
        with near, far, contextlib.suppress(OSError):
            for sock in (near, far):
                sock.setblocking(False)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            # SYN, its answer and the acknowledgement: then the server knows of its client.
            await asyncio.sleep(3 * self._delay_s)
            await asyncio.get_running_loop().sock_connect(far, self._target)
            there = Direction(near, far, self._delay_s, **self._windows)
            back = Direction(far, near, self._delay_s, **self._windows)
            ways = [asyncio.ensure_future(way.run()) for way in (there, back)]
            try:
                await asyncio.gather(*ways)
            finally:
                for way in ways:
                    way.cancel()


class Relay:
    """The line in a process of its own, so that it takes no time from the client's interpreter."""

    def __init__(self, target_port: int, rtt_s: float, *, is_steady: bool = False) -> None:
        argv = [sys.executable, "-m", "benchmarks.relay", str(target_port), str(rtt_s * 1000)]
        argv += [STEADY] if is_steady else []
        self._child = subprocess.Popen(
            argv, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).resolve().parent.parent
        )
        assert self._child.stdout is not None
        self.port = int(self._child.stdout.readline())

    def close(self) -> None:
        self._child.kill()
        self._child.wait()
        assert self._child.stdout is not None
        self._child.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def main(argv: list[str]) -> None:
    target_port, rtt_ms = int(argv[0]), float(argv[1])
    listener = socket.create_server(("127.0.0.1", 0), backlog=100)
    listener.setblocking(False)
    print(listener.getsockname()[1], flush=True)
    line = Line(target_port, rtt_ms / 1000, is_steady=STEADY in argv)
    asyncio.run(line.serve(listener))


if __name__ == "__main__":
    main(sys.argv[1:])
