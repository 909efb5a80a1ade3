"""`run.py service whisper`: the server, its health endpoints, and a loud end when it dies.

`run.py service whisper fetch` only downloads the model, as the image's entrypoint does first.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import time
from typing import Protocol

from whisper import healthcheck
from whisper.configuration import BadConfiguration, Configuration, from_environment


class Server(Protocol):
    def clients(self) -> int: ...
    def prepare(self, tell: healthcheck.Tell) -> None: ...
    def run(self) -> None: ...


def main(argv: list[str]) -> int:
    """Runs until it is ended. Exit codes: 0 was asked to end, 1 the server died, 2 usage."""
    _log_as_json()
    try:
        configuration = from_environment()
    except BadConfiguration as error:
        logging.error("%s", error)
        return 2
    if argv not in ([], ["fetch"]):
        logging.error("usage: run.py service whisper [fetch]")
        return 2
    signal.signal(signal.SIGTERM, _leave)
    signal.signal(signal.SIGINT, _leave)
    return _fetch(configuration) if argv else _serve(configuration)


def _fetch(configuration: Configuration) -> int:
    if configuration.is_simulated:
        return 0
    from whisper.live_server import fetch

    try:
        logging.info("the model is in %s", fetch(configuration))
    except Exception as error:  # noqa: BLE001  whatever the hub's library raises ends in one line
        logging.error("the model %s cannot be had: %s", configuration.model, error)
        return 1
    return 0


def _serve(configuration: Configuration) -> int:
    logging.info("starting: %s", json.dumps(configuration.shown()))
    if configuration.host != "127.0.0.1" and not configuration.token:
        logging.warning("WHISPER_HOST=%s without WHISPER_TOKEN: open to all", configuration.host)
    server = _server(configuration)
    health = healthcheck.Health(configuration, server.clients)

    def tell(stage: str) -> None:
        health.stage = stage
        logging.info("%s", stage)

    listening = healthcheck.serve(health)
    try:
        server.prepare(tell)
        tell("serving")
        server.run()
        health.failure = "the server ended by itself"
    except Exception as error:  # noqa: BLE001  the boundary: told, then the process ends
        health.failure = f"{type(error).__name__}: {error}"
    finally:
        listening.shutdown()
    logging.error("%s", health.failure)
    return 1


def _server(configuration: Configuration) -> Server:
    if configuration.is_simulated:
        from whisper.sim_server import SimServer

        return SimServer(configuration)
    from whisper.live_server import LiveServer

    return LiveServer(configuration)


def _leave(number: int, _frame: object) -> None:
    logging.info("asked to end by signal %s", number)
    logging.shutdown()
    sys.stdout.flush()
    # Client threads of the server are not daemons: an ordinary exit would wait for them.
    os._exit(0)


class _Lines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "ts": round(time.time(), 3),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def _log_as_json() -> None:
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(_Lines())
    logging.root.handlers[:] = [handler]
    logging.root.setLevel(logging.INFO)
    # One line for every connection, of every health check.
    logging.getLogger("websockets.server").setLevel(logging.WARNING)
