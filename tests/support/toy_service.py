"""A copy of remote_scripts in which a workload is a server that says which pod it runs in."""

from __future__ import annotations

import shutil
import textwrap
from pathlib import Path

from gpuctl.resources import bundled

# It runs until it is told to end, or to fall.
SERVICE = """
    import http.server, os, sys
    from worker import ports


    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            if self.path == "/fall":
                os._exit(3)
            self.send_response(200)
            self.end_headers()
            told = [os.environ["RUNPOD_POD_ID"], os.environ["GPUCTL_ENGINE"], *sys.argv[1:]]
            self.wfile.write(" ".join(told).encode())

        def log_message(self, *args):
            print("asked for", self.path)


    def main(argv):
        print("toy listens", argv)
        http.server.HTTPServer((ports.host(), ports.port(9090)), Page).serve_forever()
        return 0
"""


def scripts_with_service(folder: Path, workload: str) -> Path:
    """For the simulator's setting `scripts`."""
    shutil.copytree(bundled("remote_scripts"), folder)
    home = folder / workload
    home.mkdir(exist_ok=True)
    (home / "__init__.py").touch()
    (home / "service.py").write_text(textwrap.dedent(SERVICE), encoding="utf-8")
    return folder
