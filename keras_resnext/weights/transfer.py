"""HTTP downloads, with limits for servers.

Servers and proxies are not trusted. Whatever they send, a download ends: it is
complete, or raises an error.
"""

import contextlib
import http
import http.client
import io
import os
import pathlib
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Callable
from typing import IO
from typing import Any

from keras_resnext.weights.files import shown

TIMEOUT = 30  # seconds without a byte, after which an attempt ends
PROGRESS = 1 << 16  # bytes that an attempt must receive ...
STALL = 60  # ... within this many seconds, again and again
ATTEMPTS = 3  # in a row that may end with less progress than that
REQUESTS = 100  # for one file, successful or not
PAUSE = 1  # second between two attempts
LARGEST = 16 << 30  # bytes of a file; the largest published one has 3.3e9
_CHUNK = 1 << 18

# Errors after which another attempt may succeed, unlike those of a disk.
_BROKEN = (
    ConnectionError,
    TimeoutError,
    urllib.error.URLError,
    http.client.HTTPException,
    ssl.SSLError,
)
_BUSY = (408, 429, 500, 502, 503, 504)


class DownloadError(OSError):
    """A response that another attempt would not improve."""


def save(
    url: str,
    path: pathlib.Path,
    check: Callable[[pathlib.Path], None],
    *,
    token: str | None = None,
    size: int | None = None,
    title: str | None = None,
) -> None:
    """Download a file under a temporary name, check it, and rename it.

    Args:
        url: Address of the file.
        path: Path to write. The folder is created.
        check: Function of the temporary path that raises unless the file is
            the expected one.
        token: Value of the `Authorization` header, sent to the address's own
            host only.
        size: Number of bytes, if known.
        title: Text beside the progress bar (default: the file's name).

    Raises:
        OSError: If the download fails; no file is left.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{uuid.uuid4().hex}.incomplete")
    try:
        with part.open("wb") as file:
            download(
                url, file, token=token, size=size, title=title or path.name
            )
        check(part)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def download(
    url: str,
    file: IO[bytes],
    *,
    token: str | None = None,
    size: int | None = None,
    largest: int | None = None,
    title: str | None = None,
) -> None:
    """Download into an open file, resuming where a connection broke.

    Args:
        url: Address of the file.
        file: Empty file, open for writing.
        token: As for `save`.
        size: As for `save`.
        largest: Largest size to accept, in bytes (default: `LARGEST`).
        title: Text beside the progress bar; `None` draws no bar.

    Raises:
        OSError: If the server can't be reached, refuses, announces one size
            and sends another, sends less than `PROGRESS` bytes in `STALL`
            seconds or in each of `ATTEMPTS` attempts, or takes more than
            `REQUESTS` requests.
    """
    best, failures = 0, 0
    for _ in range(REQUESTS):
        try:
            _append(url, file, token, size, largest or LARGEST, title)
            return
        except _BROKEN as error:
            failures = 0 if file.tell() - best >= PROGRESS else failures + 1
            best = max(best, file.tell())
            busy = getattr(error, "code", None) in _BUSY
            if failures == ATTEMPTS or not (best or busy):
                raise
        time.sleep(PAUSE)
    raise DownloadError(f"the connection broke {REQUESTS} times")


def head(url: str, token: str | None = None) -> Any:
    """Return the headers of an address, following redirects.

    A redirect of the Hugging Face hub to its storage is not followed, as the
    headers of interest are the hub's.
    """
    try:
        with _open(url, token, method="HEAD") as response:
            return response.headers
    except urllib.error.HTTPError as error:
        if error.headers.get("X-Linked-Etag"):
            return error.headers
        raise


def _append(
    url: str,
    file: IO[bytes],
    token: str | None,
    size: int | None,
    largest: int,
    title: str | None,
) -> None:
    """Download the rest of a file, or all if a server supports no ranges."""
    from huggingface_hub.utils import tqdm

    with _open(url, token, start=file.tell()) as response:
        if response.headers.get_content_type() == "text/html":
            raise DownloadError("the answer is a web page, not a file")
        if response.status != http.HTTPStatus.PARTIAL_CONTENT:
            file.seek(0)
            file.truncate()
        start = file.tell()
        if start and not response.headers.get("Content-Range", "").startswith(
            f"bytes {start}-"
        ):
            raise DownloadError(f"byte {start} was requested but not sent")
        announced = size
        if response.length is not None:
            announced = start + response.length
        if size not in (None, announced):
            raise DownloadError(f"{size} bytes announced, then {announced}")
        limit = largest if announced is None else announced
        if limit > largest:
            raise DownloadError(f"{limit} bytes announced; {largest} allowed")
        with (
            tqdm(
                total=announced,
                initial=start,
                desc=title,
                unit="B",
                unit_scale=True,
            )
            if title
            else contextlib.nullcontext()
        ) as bar:
            while data := response.read1(_CHUNK):
                if file.tell() + len(data) > limit:
                    raise DownloadError(f"more than {limit} bytes were sent")
                file.write(data)
                if bar is not None:
                    bar.update(len(data))
    if announced is not None and file.tell() < announced:
        raise ConnectionError(
            f"got only {file.tell()} out of {announced} bytes"
        )


# Connections ------------------------------------------------------------------


class _Metered(io.RawIOBase):
    """Stream of a connection that raises an error if it stalls."""

    def __init__(self, raw: Any) -> None:
        self._raw = raw
        self._since = time.monotonic()
        self._received = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        count = self._raw.readinto(buffer)
        self._received += count or 0
        now = time.monotonic()
        if self._received >= PROGRESS:
            self._since, self._received = now, 0
        elif count and now - self._since > STALL:
            raise TimeoutError(
                f"only {self._received} bytes in {STALL} seconds"
            )
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Response(http.client.HTTPResponse):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Both headers and body are read through it.
        self.fp: Any = io.BufferedReader(_Metered(self.fp.detach()))


class _Connection(http.client.HTTPConnection):
    response_class = _Response


class _SecureConnection(http.client.HTTPSConnection):
    response_class = _Response


class _Http(urllib.request.HTTPHandler):
    def http_open(self, request: Any) -> Any:
        return self.do_open(_Connection, request)


class _Https(urllib.request.HTTPSHandler):
    def https_open(self, request: Any) -> Any:
        return self.do_open(_SecureConnection, request, context=_certificates())


class _Redirects(urllib.request.HTTPRedirectHandler):
    def http_error_302(
        self, req: Any, fp: Any, code: int, msg: str, headers: Any
    ) -> Any:
        fp.close()  # else its text would be read, however long
        return super().http_error_302(req, fp, code, msg, headers)

    http_error_301 = http_error_303 = http_error_302
    http_error_307 = http_error_308 = http_error_302

    def redirect_request(self, req: Any, *args: Any) -> Any:
        headers, url = args[-2:]
        if req.get_method() == "HEAD" and headers.get("X-Linked-Etag"):
            return None
        new = super().redirect_request(req, *args)
        if new is not None:
            new.method = req.get_method()
            if _host(url) == _host(req.full_url):
                new.unredirected_hdrs = req.unredirected_hdrs
        return new


def _host(url: str) -> tuple[str, str]:
    return urllib.parse.urlsplit(url)[:2]


def _certificates() -> ssl.SSLContext:
    context = ssl.create_default_context()
    # Some Python installations come without certificates of their own.
    with contextlib.suppress(ImportError):
        import certifi

        context.load_verify_locations(certifi.where())
    return context


def _open(
    url: str, token: str | None, start: int = 0, method: str = "GET"
) -> Any:
    headers = {"User-Agent": "keras_resnext"}
    if start:
        headers["Range"] = f"bytes={start}-"
    request = urllib.request.Request(url, headers=headers, method=method)
    if token is not None:
        request.add_unredirected_header("Authorization", token)
    opener = urllib.request.build_opener(_Http, _Https, _Redirects)
    try:
        return opener.open(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        error.close()
        error.msg = shown(error.headers.get("X-Error-Message") or error.msg)
        raise
