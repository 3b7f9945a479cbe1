"""Downloads from release pages."""

import dataclasses

import pytest
from downloads import CONTENT
from downloads import fetch
from downloads import go_offline
from downloads import web_source
from hub import Hub

from keras_resnext.weights import transfer
from keras_resnext.weights.fetch import WeightsUnavailableError
from keras_resnext.weights.files import CheckpointError

pytestmark = pytest.mark.once


def test_web_then_cache(hub, web_cache):
    source = web_source(hub)
    assert fetch(source) == web_cache / "tiny.pth"
    assert hub.downloads() == [hub.path(source)]
    hub.requests.clear()
    assert fetch(source) == web_cache / "tiny.pth"
    assert hub.requests == []


def test_web_offline(hub, monkeypatch):
    source = web_source(hub)
    path = fetch(source)
    go_offline(monkeypatch)
    hub.requests.clear()
    assert fetch(source) == path
    with pytest.raises(WeightsUnavailableError, match="offline mode is on"):
        fetch(web_source(hub, "other.pth"))
    assert hub.requests == []


def test_web_unreachable_but_cached(hub):
    with Hub() as gone:
        source = web_source(gone)
        path = fetch(source)
    assert fetch(source) == path
    path.unlink()
    with pytest.raises(WeightsUnavailableError, match="refused"):
        fetch(source)


def test_release_page_sends_to_another_host(hub, web_cache):
    source = web_source(hub)
    hub.faults[hub.path(source)] = "redirect"
    hub.faults[hub.cdn(CONTENT)] = "cut"
    hub.once = True
    assert fetch(source) == web_cache / "tiny.pth"
    assert hub.downloads() == [hub.path(source), hub.cdn(CONTENT)] * 2
    assert hub.resumed() == [len(CONTENT) // 2] * 2


@pytest.mark.parametrize("fault", ["cut", "reset", "stall"])
def test_broken_web_download_is_resumed(hub, fault, web_cache, monkeypatch):
    monkeypatch.setattr(transfer, "TIMEOUT", 0.5)
    source = web_source(hub)
    hub.faults[hub.path(source)] = fault
    hub.once = True
    fetch(source)
    (start,) = hub.resumed()
    assert 0 < start <= len(CONTENT) // 2
    assert [path.name for path in web_cache.iterdir()] == ["tiny.pth"]


@pytest.mark.parametrize("fault", ["cut", "reset"])
def test_broken_web_download_that_can_not_be_resumed(hub, fault, web_cache):
    hub.ranges = False
    source = web_source(hub, md5=None)
    hub.faults[hub.path(source)] = fault
    with pytest.raises(WeightsUnavailableError) as info:
        fetch(source)
    reason = {"cut": "got only 524288 out of 1048576 bytes", "reset": "reset"}
    assert reason[fault] in str(info.value)
    assert not any(web_cache.iterdir())
    hub.requests.clear()
    hub.once = True
    fetch(source)
    assert len(hub.downloads()) == 2


@pytest.mark.parametrize("fault", ["silent", "stall"])
def test_silent_server_is_given_up(hub, fault, web_cache, monkeypatch):
    monkeypatch.setattr(transfer, "TIMEOUT", 0.2)
    hub.ranges = False
    source = web_source(hub)
    hub.faults[hub.path(source)] = fault
    with pytest.raises(WeightsUnavailableError, match="timed out"):
        fetch(source)
    assert not any(web_cache.iterdir())


def test_files_that_nothing_vouches_for_are_told_apart(hub, web_cache):
    source = web_source(hub, md5=None)
    path = fetch(source)
    assert path.parent == web_cache
    assert path.name != "tiny.pth"
    other = dataclasses.replace(source, url=f"{source.url}?version=2")
    assert fetch(other) != path
    assert fetch(source) == path


def test_own_file_that_is_linked_into_the_cache_stays(hub, web_cache, tmp_path):
    own = tmp_path / "own.pth"
    own.write_bytes(b"own")
    web_cache.mkdir(parents=True)
    (web_cache / "tiny.pth").symlink_to(own)
    with pytest.raises(CheckpointError, match="It was left in the cache"):
        fetch(web_source(hub))
    assert own.read_bytes() == b"own"
    assert (web_cache / "tiny.pth").is_symlink()


def test_cached_file_that_rotted(hub, web_cache):
    source = web_source(hub)
    fetch(source).write_bytes(b"rotten")
    with pytest.raises(CheckpointError, match="It was removed"):
        fetch(source)
    assert not any(web_cache.iterdir())
    fetch(source)
