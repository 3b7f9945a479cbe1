"""Downloads from the hub."""

import pytest
from downloads import CONTENT
from downloads import SHA256
from downloads import fetch
from downloads import go_offline
from downloads import hub_source
from downloads import unreachable_hub
from downloads import web_source
from hub import COMMIT
from huggingface_hub import constants

from keras_resnext.weights import fetch as fetching
from keras_resnext.weights.fetch import WeightsUnavailableError


@pytest.fixture
def small_chunks(monkeypatch):
    """What has arrived of a chunk is lost when the connection breaks."""
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1 << 12)


@pytest.mark.parametrize("revision", ["main", COMMIT])
@pytest.mark.parametrize("sha256", [SHA256, None])
def test_hub_then_cache(hub, revision, sha256):
    source = hub_source(hub, revision=revision, sha256=sha256)
    path = fetch(source)
    assert path.name == "model.safetensors"
    assert hub.downloads() == [hub.cdn(CONTENT)]
    assert len(hub.requests) == 3  # is it there, what is it, the file
    hub.requests.clear()
    assert fetch(source) == path
    assert hub.requests == []


def test_hub_offline(hub, monkeypatch):
    source = hub_source(hub)
    path = fetch(source)
    go_offline(monkeypatch)
    hub.requests.clear()
    assert fetch(source) == path
    other = hub_source(hub, filename="other.bin")
    with pytest.raises(WeightsUnavailableError) as info:
        fetch(other, web_source(hub))
    assert "other.bin" in str(info.value)
    assert "offline mode is on (HF_HUB_OFFLINE)" in str(info.value)
    assert hub.requests == []


def test_hub_unreachable_but_cached(hub, monkeypatch):
    source = hub_source(hub)
    path = fetch(source)
    with unreachable_hub(monkeypatch):
        assert fetch(source) == path


@pytest.mark.parametrize("fault", ["cut", "stall"])
def test_hub_download_that_is_cut_is_resumed(
    hub, fault, small_chunks, monkeypatch
):
    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.5)
    hub.faults[hub.cdn(CONTENT)] = fault
    hub.once = True
    fetch(hub_source(hub))
    assert hub.downloads() == [hub.cdn(CONTENT)] * 2
    (start,) = hub.resumed()
    assert 0 < start <= len(CONTENT) // 2


def test_hub_download_that_is_reset_is_tried_again(hub, small_chunks):
    hub.faults[hub.cdn(CONTENT)] = "reset"
    hub.once = True
    assert fetch(hub_source(hub)).name == "model.safetensors"
    assert hub.downloads() == [hub.cdn(CONTENT)] * 2


def test_hub_that_always_resets_is_given_up(hub, small_chunks, tmp_path):
    source = hub_source(hub)
    hub.faults[hub.cdn(CONTENT)] = "reset"
    with pytest.raises(WeightsUnavailableError, match="reset by peer"):
        fetch(source)
    assert len(hub.downloads()) == fetching.ATTEMPTS
    assert not any(p.is_symlink() for p in tmp_path.rglob("*"))
    del hub.faults[hub.cdn(CONTENT)]
    fetch(source)


def test_silent_hub_is_given_up(hub, monkeypatch, web_cache):
    monkeypatch.setattr(fetching, "TIMEOUT", 0.2)
    source = hub_source(hub)
    hub.faults[hub.path(source)] = "silent"
    with pytest.raises(WeightsUnavailableError, match="timed out"):
        fetch(source)
    assert len(hub.requests) == 1
    assert fetch(source, web_source(hub)) == web_cache / "tiny.pth"


def test_hub_file_that_is_truncated(hub, web_cache):
    source = hub_source(hub)
    hub.faults[hub.cdn(CONTENT)] = "truncated"
    with pytest.raises(WeightsUnavailableError, match="but has size 524288"):
        fetch(source)
    assert fetch(source, web_source(hub)) == web_cache / "tiny.pth"
    del hub.faults[hub.cdn(CONTENT)]
    assert fetch(source).name == "model.safetensors"


def test_the_bytes_count_and_not_what_the_hub_says_of_them(hub):
    source = hub_source(hub)
    hub.faults[hub.path(source)] = "mislabelled"
    assert fetch(source) == fetch(source)
