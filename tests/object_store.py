"""An S3 server for tests (moto, in an environment of its own) and a proxy before it that breaks what it is told to."""

from __future__ import annotations

import os
import random
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock, Thread

from filelock import FileLock

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = ROOT / ".venv-moto"
REQUIREMENTS = Path(__file__).parent / "faults" / "moto-requirements.txt"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "tests", "AWS_SECRET_ACCESS_KEY": "tests", "AWS_EC2_METADATA_DISABLED": "true"}
BUCKET = "bucket"

_ERROR = "<?xml version='1.0'?><Error><Code>{code}</Code><Message>injected: {code}</Message></Error>"


def install() -> None:
    """Makes the environment where it is missing or of other requirements; `make moto` does the same."""
    stamp = ENVIRONMENT / ".installed"
    with FileLock(ROOT / ".venv-moto.lock"):
        if stamp.exists() and stamp.read_text() == REQUIREMENTS.read_text():
            return
        subprocess.run([sys.executable, "-m", "venv", str(ENVIRONMENT)], check=True)
        # Not the constraints of this project, whose python-dateutil is another.
        environment = {**os.environ, "PIP_CONSTRAINT": ""}
        command = [ENVIRONMENT / "bin" / "python", "-m", "pip", "install", "-q", "-r", REQUIREMENTS]
        subprocess.run([*map(str, command), "--disable-pip-version-check"], check=True, env=environment)
        stamp.write_text(REQUIREMENTS.read_text())


@contextmanager
def moto() -> Iterator[int]:
    """A server with one empty bucket; yields its port."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [str(ENVIRONMENT / "bin" / "moto_server"), "-H", "127.0.0.1", "-p", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            _wait_for(port, process)
            request = urllib.request.Request(f"http://127.0.0.1:{port}/{BUCKET}", method="PUT")
            urllib.request.urlopen(request).close()
            yield port
        finally:
            process.kill()


def _wait_for(port: int, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError("moto_server did not start")


class Faults:
    """What a proxy does to requests.

    Attributes
    ----------
    share : float
        How many requests of those that follow are answered with an error of the server, drawn from a seed.
    delay_s : float
        How long each waits.
    expires_after : int or None
        Number of requests from now on that still have valid credentials.
    requests : int
        Seen so far.
    """

    def __init__(self, seed: int = 0) -> None:
        self.share, self.delay_s, self.requests = 0.0, 0.0, 0
        self.expires_after: int | None = None
        self._random, self._lock = random.Random(seed), Lock()

    def next_error(self) -> tuple[int, str] | None:
        """The answer to the next request, where it is an error."""
        with self._lock:
            self.requests += 1
            if self.expires_after is not None:
                self.expires_after -= 1
                if self.expires_after < 0:
                    return 403, "ExpiredToken"
            if self._random.random() < self.share:
                return self._random.choice([(500, "InternalError"), (503, "SlowDown")])
            return None


@contextmanager
def proxy(port: int, faults: Faults) -> Iterator[int]:
    """A proxy before a server; yields its own port."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            body = self.read_body()
            time.sleep(faults.delay_s)
            error = faults.next_error()
            if error:
                self.answer(error[0], [("Content-Type", "application/xml")], _ERROR.format(code=error[1]).encode())
                return
            connection = HTTPConnection("127.0.0.1", port, timeout=30)
            headers = {name: value for name, value in self.headers.items() if name.lower() != "transfer-encoding"}
            connection.request(self.command, self.path, body, headers | {"Content-Length": str(len(body))})
            response = connection.getresponse()
            self.answer(response.status, response.getheaders(), response.read())
            connection.close()

        def read_body(self) -> bytes:
            if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length", 0)))
            parts = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            while self.rfile.readline().strip():
                pass  # trailers
            return b"".join(parts)

        def log_message(self, *arguments: object) -> None:
            """Says nothing."""

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = handle_any

        def answer(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
            self.send_response_only(status)
            is_head = self.command == "HEAD"
            for name, value in headers:
                if name.lower() not in ("transfer-encoding", "connection") and (
                    is_head or name.lower() != "content-length"
                ):
                    self.send_header(name, value)
            if not is_head:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if not is_head:
                self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


def uri(port: int, folder: str) -> str:
    """A folder of the bucket."""
    return f"s3://{BUCKET}/{folder}?region=us-east-1&scheme=http&endpoint_override=127.0.0.1:{port}"
