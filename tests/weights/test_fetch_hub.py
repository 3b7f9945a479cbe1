"""Downloads from the hub."""

import os
import pathlib

import huggingface_hub
import pytest
import tinynet
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
from keras_resnext.weights import transfer
from keras_resnext.weights.fetch import WeightsUnavailableError
from keras_resnext.weights.files import CheckpointError

pytestmark = pytest.mark.once


@pytest.mark.parametrize("revision", ["main", COMMIT])
@pytest.mark.parametrize("sha256", [SHA256, None])
def test_hub_then_cache(hub, revision, sha256):
    source = hub_source(hub, revision=revision, sha256=sha256)
    path = fetch(source)
    assert path.name == "model.safetensors"
    assert hub.downloads() == [hub.cdn(CONTENT)]
    assert len(hub.requests) == 3  # what is it, where is it, the file
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


@pytest.mark.parametrize("fault", ["cut", "reset", "stall"])
def test_broken_hub_download_is_resumed(hub, fault, monkeypatch):
    monkeypatch.setattr(transfer, "TIMEOUT", 0.5)
    hub.faults[hub.cdn(CONTENT)] = fault
    hub.once = True
    fetch(hub_source(hub))
    assert hub.downloads() == [hub.cdn(CONTENT)] * 2
    (start,) = hub.resumed()
    assert 0 < start <= len(CONTENT) // 2


def test_hub_that_always_resets_is_given_up(hub, tmp_path):
    source = hub_source(hub)
    hub.faults[hub.cdn(CONTENT)] = "reset"
    with pytest.raises(WeightsUnavailableError, match="reset by peer"):
        fetch(source)
    assert len(hub.downloads()) >= transfer.ATTEMPTS
    assert not any(p.is_symlink() for p in tmp_path.rglob("*"))
    del hub.faults[hub.cdn(CONTENT)]
    fetch(source)


def test_silent_hub_is_given_up(hub, monkeypatch, web_cache):
    monkeypatch.setattr(transfer, "TIMEOUT", 0.2)
    source = hub_source(hub)
    hub.faults[hub.path(source)] = "silent"
    with pytest.raises(WeightsUnavailableError, match="timed out"):
        fetch(source)
    assert len(hub.requests) == 1
    assert fetch(source, web_source(hub)) == web_cache / "tiny.pth"


def test_the_bytes_count_and_not_what_the_hub_says_of_them(hub):
    source = hub_source(hub)
    hub.faults[hub.path(source)] = "mislabeled"
    assert fetch(source) == fetch(source)


def blob_of(path):
    """Return the one link of the cache that leads to a file."""
    assert path.is_symlink()
    return path.parent / path.readlink()


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("offline", [False, True])
@pytest.mark.parametrize("sha256", [SHA256, None])
def test_cached_file_that_rotted(hub, sha256, offline, monkeypatch):
    source = hub_source(hub, sha256=sha256)
    path = fetch(source)
    blob = blob_of(path)
    flip_a_bit(blob)
    hub.requests.clear()
    with monkeypatch.context() as patch:
        if offline:
            go_offline(patch)
        with pytest.raises(CheckpointError) as info:
            fetch(source)
    assert f"expected {SHA256}" in str(info.value)
    assert "It was removed from the cache" in str(info.value)
    assert hub.requests == []
    assert not blob.exists()
    assert not path.is_symlink()
    assert fetch(source) == path


@pytest.mark.parametrize("sha256", [SHA256, None])
def test_blob_that_rotted_under_another_commit(hub, sha256):
    path = fetch(hub_source(hub, sha256=sha256))
    flip_a_bit(blob_of(path))
    path.unlink()
    with pytest.raises(CheckpointError, match="It was removed from the cache"):
        fetch(hub_source(hub, sha256=sha256))
    assert fetch(hub_source(hub, sha256=sha256)) == path


def test_small_file_has_git_s_hash(hub):
    # `git hash-object` says so.
    name = "ce013625030ba8dba906f756967f9e9ca394464a"
    source = hub_source(hub, sha256=None)
    path = fetch(source)
    blob = blob_of(path)
    blob.write_bytes(b"hello\n")
    path.unlink()
    path.symlink_to(
        os.path.relpath(blob.rename(blob.with_name(name)), path.parent)
    )
    record = tinynet.record(source)
    assert fetching.fetch(record).read_bytes() == b"hello\n"
    path.write_bytes(b"hullo\n")
    with pytest.raises(CheckpointError, match=f"expected {name}"):
        fetching.fetch(record)


def test_hub_that_sends_what_it_did_not_announce(hub, tmp_path):
    source = hub_source(hub, sha256=None)
    for fault in ("mislabeled", "wrong"):
        hub.faults = {hub.path(source): fault, hub.cdn(CONTENT): fault}
        with pytest.raises(CheckpointError, match="It was not kept"):
            fetch(source)
        assert not any(p.is_symlink() for p in tmp_path.rglob("*"))
    hub.faults = {}
    fetch(source)


def test_shared_store_and_own_files_outside_of_the_cache(hub, tmp_path):
    source = hub_source(hub, sha256=None)
    path = fetch(source)
    blob = blob_of(path)
    # As newer versions of the hub's library store what several repositories
    # share: under a hash of another kind.
    store = pathlib.Path(constants.HF_HUB_CACHE, "blobs", "ab", "ab" * 32)
    store.parent.mkdir(parents=True)
    blob.rename(store)
    blob.symlink_to(os.path.relpath(store, blob.parent))
    assert fetch(source) == path
    flip_a_bit(store)
    with pytest.raises(CheckpointError, match="It was removed"):
        fetch(source)
    assert not store.exists()
    # And as somebody may keep a file elsewhere.
    assert fetch(source) == path
    own = tmp_path / "own.safetensors"
    blob.rename(own)
    blob.symlink_to(own)
    flip_a_bit(own)
    with pytest.raises(CheckpointError, match="It was removed"):
        fetch(source)
    assert own.exists()
    assert not blob.is_symlink()


def test_cache_without_links_is_checked_at_the_download(hub, monkeypatch):
    def refuse(*args, **options):
        raise OSError("no links here")

    monkeypatch.setattr(pathlib.Path, "symlink_to", refuse)
    source = hub_source(hub, sha256=None)
    hub.faults[hub.cdn(CONTENT)] = "wrong"
    with pytest.raises(CheckpointError, match="It was not kept"):
        fetch(source)
    hub.faults = {}
    path = fetch(source)
    assert not path.is_symlink()
    hub.requests.clear()
    assert fetch(source) == path
    assert hub.requests == []


def test_hub_s_own_library_finds_what_was_downloaded(hub):
    path = fetch(hub_source(hub))
    hub.requests.clear()
    found = huggingface_hub.hf_hub_download(
        "someone/tiny", "model.safetensors", local_files_only=True
    )
    assert pathlib.Path(found) == path
    (repo,) = huggingface_hub.scan_cache_dir().repos
    assert repo.repo_id == "someone/tiny"
    assert repo.size_on_disk == len(CONTENT)
    assert hub.requests == []


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Repo-Commit": "../../../../etc"},
        {"X-Linked-Etag": '"../../evil"'},
        {"X-Repo-Commit": ""},
    ],
)
def test_hub_whose_answer_leads_out_of_the_cache(hub, headers, tmp_path):
    hub.headers = headers
    with pytest.raises(WeightsUnavailableError, match="not one of a Hugging"):
        fetch(hub_source(hub))
    assert not any(p.is_file() for p in tmp_path.rglob("*"))


def test_token_stays_with_the_hub(hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    fetch(hub_source(hub))
    assert hub.tokens == {
        f"127.0.0.1:{hub.port}": {"Bearer hf_secret"},
        f"localhost:{hub.port}": {None},
    }
