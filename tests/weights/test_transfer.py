"""Limits for servers."""

import errno
import hashlib
import io
import time
import urllib.error

import pytest
from downloads import CONTENT
from downloads import SHA256
from downloads import hub_source
from downloads import web_source
from tinynet import record

from keras_resnext.weights import fetch as fetching
from keras_resnext.weights import transfer
from keras_resnext.weights.fetch import WeightsUnavailableError
from keras_resnext.weights.records import HubFile

pytestmark = pytest.mark.once


def download(hub, fault=None, content=CONTENT, **options):
    """Download a file where something goes wrong."""
    source = hub.web_file(content, "file.bin")
    if fault:
        hub.faults[hub.path(source)] = fault
    file = io.BytesIO()
    transfer.download(source.url, file, **options)
    return file.getvalue()


@pytest.fixture
def small_limits(monkeypatch):
    monkeypatch.setattr(transfer, "STALL", 0.3)
    monkeypatch.setattr(transfer, "LARGEST", 1 << 22)


@pytest.mark.parametrize(
    ("fault", "error", "message", "requests"),
    [
        ("byte", ConnectionError, "reset|got only", transfer.ATTEMPTS),
        ("trickle", TimeoutError, "bytes in 0.3 seconds", None),
        ("slow head", TimeoutError, "bytes in 0.3 seconds", 1),
        ("endless", transfer.DownloadError, "more than 4194304 bytes", 1),
        ("loop", urllib.error.HTTPError, "infinite loop", 5),
        ("page", transfer.DownloadError, "web page", 1),
        ("missing", urllib.error.HTTPError, "404", 1),
        ("busy", urllib.error.HTTPError, "503", transfer.ATTEMPTS),
    ],
)
def test_every_download_ends(
    hub, small_limits, fault, error, message, requests
):
    start = time.monotonic()
    with pytest.raises(error, match=message):
        download(hub, fault)
    assert time.monotonic() - start < 10
    assert requests is None or len(hub.requests) == requests
    assert len(hub.requests) < 10


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("longer", "1048576 bytes announced, then 1048577"),
        ("truncated", "1048576 bytes announced, then 524288"),
    ],
)
def test_size_that_was_announced_elsewhere(hub, fault, message):
    with pytest.raises(transfer.DownloadError, match=message):
        download(hub, fault, size=len(CONTENT))
    assert len(hub.requests) == 1


def test_endless_file_of_announced_size(hub):
    with pytest.raises(transfer.DownloadError, match="more than 1048576 bytes"):
        download(hub, "endless", size=len(CONTENT))


def test_file_that_is_too_large(hub):
    with pytest.raises(transfer.DownloadError, match="1000 allowed"):
        download(hub, largest=1000)
    assert download(hub, largest=len(CONTENT)) == CONTENT


def test_number_of_requests(hub, monkeypatch):
    monkeypatch.setattr(transfer, "PROGRESS", 1)
    monkeypatch.setattr(transfer, "REQUESTS", 7)
    with pytest.raises(transfer.DownloadError, match="broke 7 times"):
        download(hub, "byte")
    assert hub.resumed() == [1, 2, 3, 4, 5, 6]


def test_progress_forgives_earlier_failures(hub, monkeypatch):
    # Halves of halves: after twelve attempts there is less than progress.
    monkeypatch.setattr(transfer, "PROGRESS", len(CONTENT) >> 12)
    with pytest.raises(ConnectionError):
        download(hub, "cut")
    assert len(hub.requests) == 12 + transfer.ATTEMPTS


def test_server_that_is_busy_for_a_moment(hub):
    hub.once = True
    assert download(hub, "busy") == CONTENT
    assert len(hub.requests) == 2


def test_part_that_was_not_asked_for(hub):
    source = hub.web_file(CONTENT, "file.bin")
    hub.faults[hub.path(source)] = "shifted"
    file = io.BytesIO()
    file.write(CONTENT[:100])
    with pytest.raises(transfer.DownloadError, match="byte 100 was requested"):
        transfer._append(source.url, file, None, None, 1 << 30, None)


def test_full_disk_is_not_the_network_s_fault(hub):
    class Full(io.BytesIO):
        def write(self, data):
            raise OSError(errno.ENOSPC, "No space left on device")

    source = hub.web_file(CONTENT, "file.bin")
    with pytest.raises(OSError, match="No space left"):
        transfer.download(source.url, Full())
    assert len(hub.requests) == 1


FILE_FAULTS = ["byte", "trickle", "endless", "page", "longer", "truncated"]
FAULTS = [
    (place, fault)
    for place in ("hub", "storage", "web")
    for fault in ["loop", "busy", *FILE_FAULTS]
    # The hub sends no files itself, and one trickle takes long enough.
    if (place != "hub" or fault not in FILE_FAULTS)
    and (place, fault) != ("web", "trickle")
]


@pytest.mark.parametrize(("place", "fault"), FAULTS)
def test_fetching_ends_and_leaves_nothing(
    hub, small_limits, place, fault, tmp_path
):
    if place == "web":
        source = web_source(hub)
        path = hub.path(source)
    else:
        source = hub_source(hub, sha256=None)
        path = hub.cdn(CONTENT) if place == "storage" else hub.path(source)
    hub.faults[path] = fault
    if place == "web" and fault in ("longer", "truncated"):
        # Nobody announced the size.
        expected, message = fetching.CheckpointError, "is not the file"
    else:
        expected, message = WeightsUnavailableError, "Can't get the weights"
    with pytest.raises(expected, match=message):
        fetching.fetch(record(source))
    assert len(hub.requests) < 20
    left = [p for p in tmp_path.rglob("*") if p.is_file() or p.is_symlink()]
    assert [p for p in left if p.suffix != ".lock"] == []
    del hub.faults[path]
    path = fetching.fetch(record(source))
    assert hashlib.sha256(path.read_bytes()).hexdigest() == SHA256


def test_hub_that_answers_slowly(hub, small_limits):
    source = HubFile("someone/tiny")
    hub.faults[hub.path(source)] = "slow head"
    with pytest.raises(WeightsUnavailableError, match="seconds"):
        fetching.fetch(record(source))
    assert len(hub.requests) == 1
