"""A server on this machine that is the Hugging Face hub and a release page.

It serves what it was given, and misbehaves where it was told to.
"""

import hashlib
import http.server
import re
import socket
import struct
import threading
from typing import Any
from typing import Self

from keras_resnext.weights.records import HubFile
from keras_resnext.weights.records import WebFile

COMMIT = "0123456789abcdef0123456789abcdef01234567"

PREFIXES = ("/someone/", "/cdn/", "/releases/")


class Hub:
    """Serves files over HTTP while it is entered as a context.

    Attributes:
        faults: For each path what goes wrong there: `"missing"` (404),
            `"wrong"` (other bytes), `"together"` (answers only when two
            requests are there), or, when the whole file is asked for, half of
            it and then `"cut"` (the end), `"reset"` (the connection breaks)
            or `"stall"` (silence).
        requests: Every request for a file so far, as `(method, path)`.
        half_sent: Set once half of a file went out to stall there.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.faults: dict[str, str] = {}
        self.requests: list[tuple[str, str]] = []
        self.half_sent = threading.Event()
        self.together = threading.Barrier(2)
        self.closing = threading.Event()
        hub = self

        class Handler(_Handler):
            def __init__(self, *args: Any) -> None:
                self.hub = hub
                super().__init__(*args)

        self._server = http.server.ThreadingHTTPServer(
            ("127.0.0.1", 0), Handler
        )
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=[0.01]).start()
        return self

    def __exit__(self, *args: Any) -> None:
        self.closing.set()
        self.together.abort()
        self._server.shutdown()
        self._server.server_close()

    def hub_file(self, content: bytes, **options: Any) -> HubFile:
        """Publishes a file in a repository; it is large, so on a CDN."""
        source = HubFile("someone/tiny", **options)
        self.files[self.cdn(content)] = content
        self.files[self.path(source)] = content
        return source

    def web_file(self, content: bytes, name: str, **options: Any) -> WebFile:
        """Publishes a file on a release page."""
        self.files[f"/releases/{name}"] = content
        return WebFile(f"{self.url}/releases/{name}", **options)

    @staticmethod
    def path(source: HubFile | WebFile) -> str:
        """Where a source is asked for first."""
        if isinstance(source, WebFile):
            return "/" + source.url.split("/", 3)[3]
        return f"/{source.repo_id}/resolve/{source.revision}/{source.filename}"

    @staticmethod
    def cdn(content: bytes) -> str:
        """Where the hub sends those who ask for a file of that content."""
        return f"/cdn/{hashlib.sha256(content).hexdigest()}"

    def downloads(self) -> list[str]:
        """The paths that a body was asked from."""
        return [path for method, path in self.requests if method == "GET"]


class _Handler(http.server.BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        if self.path.startswith(PREFIXES):
            self.hub.requests.append((self.command, self.path))
        content = self.hub.files.get(self.path)
        fault = self.hub.faults.get(self.path)
        if content is None or fault == "missing":
            self._head(404, {"X-Error-Code": "EntryNotFound"}, 0)
        elif "/resolve/" in self.path:
            self._redirect(content)
        else:
            self._serve(content, fault)

    def _redirect(self, content: bytes) -> None:
        headers = {
            "X-Repo-Commit": COMMIT,
            "X-Linked-Etag": f'"{hashlib.sha256(content).hexdigest()}"',
            "X-Linked-Size": str(len(content)),
            # Another host, where a token must not go and none is asked for.
            "Location": f"http://localhost:{self.hub.port}"
            + self.hub.cdn(content),
        }
        self._head(302, headers, 0)

    def _serve(self, content: bytes, fault: str | None) -> None:
        total, start = len(content), 0
        if match := re.fullmatch(r"bytes=(\d+)-", self.headers["Range"] or ""):
            start = int(match[1])
        whole = start == 0
        if fault == "wrong":
            content = bytes(total)
        if fault == "together":
            self.hub.together.wait(60)
        headers = {"Accept-Ranges": "bytes"}
        if not whole:
            headers["Content-Range"] = f"bytes {start}-{total - 1}/{total}"
        self._head(200 if whole else 206, headers, total - start)
        if self.command == "HEAD":
            return
        broken = whole and fault in ("cut", "reset", "stall")
        end = (start + total) // 2 if broken else total
        self.wfile.write(content[start:end])
        if not broken:
            return
        self.close_connection = True
        self.wfile.flush()
        if fault == "stall":
            self.hub.half_sent.set()
            self.hub.closing.wait(60)
        if fault == "reset":
            # Closing without lingering sends a reset in place of an end.
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, linger
            )

    def _head(self, status: int, headers: dict[str, str], length: int) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(length))
        self.end_headers()

    def log_message(self, *args: Any) -> None:
        """Keeps quiet; `Hub.requests` tells."""
