"""A server on this machine that is the Hugging Face hub and a release page.

It serves published files, and misbehaves on request.
"""

import contextlib
import dataclasses
import hashlib
import http.server
import json
import re
import socket
import struct
import threading
import urllib.parse
from typing import Any
from typing import Self

from keras_resnext.weights.records import HubFile
from keras_resnext.weights.records import WebFile

COMMIT = "0123456789abcdef0123456789abcdef01234567"

PREFIXES = ("/api/", "/someone/", "/cdn/")


class Hub:
    """Server of files over HTTP while it is entered as a context.

    Attributes:
        faults: For each path what goes wrong there: `"missing"` (404),
            `"busy"` (503), `"silent"` (no answer), `"slow head"` (a byte of
            the head now and then), `"together"` (answers only when two
            requests are there), `"redirect"` (the file is on the CDN),
            `"loop"` (a redirect to itself), `"page"` (HTML),
            `"mislabeled"` (the hub says it has another hash), `"wrong"`
            (other bytes), `"truncated"` (half of it, as if that were all),
            `"longer"` (a byte more), `"shifted"` (a part that was not asked
            for), `"endless"` (no length, and no end), or half of what was
            asked for and then `"cut"` (the end), `"reset"` (the connection
            breaks), `"stall"` (silence) or `"trickle"` (a byte now and then);
            `"byte"` is a reset after one byte.
        once: Whether a connection that broke off contains the next time.
        ranges: Whether a part of a file can be asked for.
        headers: False headers that the hub sends for every file.
        tokens: The values of `Authorization` that came to each host.
        requests: Every request for a file so far, as `(method, path, start)`.
        half_sent: Set once half of a file went out to stall there.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.faults: dict[str, str] = {}
        self.once = False
        self.ranges = True
        self.commit = COMMIT
        self.headers: dict[str, str] = {}
        self.tokens: dict[str, set[str | None]] = {}
        self.requests: list[tuple[str, str, int]] = []
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
        """Publish a file in a repository; it is large, so on a CDN."""
        source = HubFile("someone/tiny", **options)
        self.files[self.cdn(content)] = content
        for revision in (source.revision, COMMIT):
            pinned = dataclasses.replace(source, revision=revision)
            self.files[self.path(pinned)] = content
        return source

    def repository(
        self,
        files: dict[str, bytes],
        revision: str = "main",
        commit: str = COMMIT,
    ) -> None:
        """Publish a repository at a commit, and let a branch name it."""
        for name, content in files.items():
            self.files[self.cdn(content)] = content
            for place in (revision, commit):
                path = f"/someone/tiny/resolve/{place}/{name}"
                self.files[path] = content
        answer = {
            "sha": commit,
            "siblings": [{"rfilename": name} for name in files],
        }
        for place in (revision, commit):
            path = f"/api/models/someone/tiny/revision/{place}"
            self.files[path] = json.dumps(answer).encode()
        self.commit = commit

    def web_file(self, content: bytes, name: str, **options: Any) -> WebFile:
        """Publish a file on a release page."""
        path = f"/someone/tiny/releases/download/v1/{name}"
        self.files[self.cdn(content)] = content
        self.files[path] = content
        return WebFile(f"{self.url}{path}", **options)

    @staticmethod
    def path(source: HubFile | WebFile) -> str:
        """Return the path under which a source is asked for first."""
        if isinstance(source, WebFile):
            return "/" + source.url.split("/", 3)[3]
        return f"/{source.repo_id}/resolve/{source.revision}/{source.filename}"

    @staticmethod
    def cdn(content: bytes) -> str:
        """Return the address that the hub redirects a file's requests to."""
        return f"/cdn/{hashlib.sha256(content).hexdigest()}"

    def downloads(self) -> list[str]:
        """Return the paths that the body of a file was asked from."""
        return [
            path
            for method, path, _ in self.requests
            if method == "GET"
            and "/resolve/" not in path
            and not path.startswith("/api/")
        ]

    def resumed(self) -> list[int]:
        """Return where downloads began that did not begin at the start."""
        return [
            start
            for _, path, start in self.requests
            if start and "/resolve/" not in path
        ]


class _Handler(http.server.BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = urllib.parse.urlsplit(self.path).path
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers["Range"] or "")
        start = int(asked[1]) if asked else 0
        self.hub.tokens.setdefault(self.headers["Host"], set()).add(
            self.headers["Authorization"]
        )
        if path.startswith(PREFIXES):
            self.hub.requests.append((self.command, path, start))
        content = self.hub.files.get(path)
        fault = self.hub.faults.get(path)
        if fault == "together":
            self.hub.together.wait(60)
        if fault == "silent":
            self.hub.closing.wait(60)
            self.close_connection = True
        elif fault == "slow head":
            self._trickle()
        elif fault == "loop":
            self._head(302, {"Location": self.path}, 0)
        elif fault == "busy":
            self._busy(path)
        elif content is None or fault == "missing":
            self._head(404, {"X-Error-Code": "EntryNotFound"}, 0)
        elif "/resolve/" in path or fault == "redirect":
            self._redirect(content, fault)
        elif fault in ("byte", "cut", "reset", "stall", "trickle"):
            if self.hub.once:
                del self.hub.faults[path]
            self._break(content, start, fault)
        elif fault == "endless":
            self._never_end()
        else:
            if fault == "wrong":
                content = bytes(len(content))
            if fault == "truncated":
                content = content[: len(content) // 2]
            if fault == "longer":
                content += b"!"
            content = self._serve(content, start, fault)
            with contextlib.suppress(OSError):  # who asked may have gone
                self.wfile.write(content)

    def _redirect(self, content: bytes, fault: str | None) -> None:
        labeled = b"another" if fault == "mislabeled" else content
        headers = {
            "X-Repo-Commit": self.hub.commit,
            "X-Linked-Etag": f'"{hashlib.sha256(labeled).hexdigest()}"',
            "X-Linked-Size": str(len(content)),
            # Another host, where a token must not go and none is asked for.
            "Location": f"http://localhost:{self.hub.port}"
            f"{self.hub.cdn(content)}?signature=1",
            **self.hub.headers,
        }
        self._head(302, headers, 0)

    def _busy(self, path: str) -> None:
        if self.hub.once:
            del self.hub.faults[path]
        self._head(503, {}, 0)

    def _serve(
        self, content: bytes, start: int, fault: str | None = None
    ) -> bytes:
        """Send the head, and return what must follow."""
        total = len(content)
        if start and self.hub.ranges:
            start -= fault == "shifted"
            span = f"bytes {start}-{total - 1}/{total}"
            self._head(206, {"Content-Range": span}, total - start)
            content = content[start:]
        else:
            kind = {"Content-Type": "text/html"} if fault == "page" else {}
            self._head(200, kind, total)
        return b"" if self.command == "HEAD" else content

    def _never_end(self) -> None:
        """Send chunk after chunk, until nobody listens."""
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        with contextlib.suppress(OSError):
            while not self.hub.closing.is_set():
                self.wfile.write(b"10000\r\n%b\r\n" % bytes(1 << 16))
        self.close_connection = True

    def _trickle(self) -> None:
        """Send a byte now and then, until nobody listens."""
        with contextlib.suppress(OSError):
            while not self.hub.closing.wait(0.02):
                self.wfile.write(b"H")
        self.close_connection = True

    def _break(self, content: bytes, start: int, fault: str) -> None:
        """Send half of what was asked for."""
        content = self._serve(content, start, fault)
        self.wfile.write(content[: 1 if fault == "byte" else len(content) // 2])
        self.close_connection = True
        if fault == "trickle":
            self._trickle()
        if fault == "stall":
            self.hub.half_sent.set()
            self.hub.closing.wait(60)
        if fault in ("byte", "reset"):
            # What is still on its way when that happens is lost.
            self.hub.closing.wait(0.2)
            # Closing without lingering sends a reset in place of an end, but
            # the server would say properly first that it is the end.
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, linger
            )
            self.rfile.close()
            self.connection.close()

    def _head(self, status: int, headers: dict[str, str], length: int) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(length))
        self.end_headers()

    def log_message(self, *args: Any) -> None:
        """Log nothing; `Hub.requests` has it."""
