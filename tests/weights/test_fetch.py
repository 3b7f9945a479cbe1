"""Downloads: cached, refused, cut, killed, and from the next source."""

import contextlib
import hashlib
import logging
import os
import pathlib
import subprocess
import sys

import huggingface_hub
import keras
import pytest
import safetensors.numpy
import tinynet
from hub import COMMIT
from hub import Hub
from huggingface_hub import constants

from keras_resnext.weights import fetch as fetching
from keras_resnext.weights import load
from keras_resnext.weights.fetch import WeightsUnavailableError
from keras_resnext.weights.readers import CheckpointError
from keras_resnext.weights.records import HubFile
from keras_resnext.weights.records import WebFile

CONTENT = bytes(range(256)) * 4096
SHA256 = hashlib.sha256(CONTENT).hexdigest()
MD5 = hashlib.md5(CONTENT).hexdigest()


def addresses(server):
    template = "/{repo_id}/resolve/{revision}/{filename}"
    return {
        "ENDPOINT": server.url,
        "HUGGINGFACE_CO_URL_TEMPLATE": server.url + template,
    }


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A server that is the hub to this process, with empty caches."""
    with Hub() as server:
        environment = {
            "HF_ENDPOINT": server.url,
            "HF_HOME": str(tmp_path / "hub"),
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_XET": "1",
            "KERAS_HOME": str(tmp_path / "keras"),
            "NO_PROXY": "127.0.0.1,localhost",
            "no_proxy": "127.0.0.1,localhost",
        }
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.delenv("HF_TOKEN", raising=False)
        # The library read its environment when it was imported.
        values = {
            **addresses(server),
            "HF_HOME": str(tmp_path / "hub"),
            "HF_HUB_CACHE": str(tmp_path / "hub" / "hub"),
            "HF_TOKEN_PATH": str(tmp_path / "hub" / "token"),
            "HF_HUB_DISABLE_TELEMETRY": True,
            "HF_HUB_DISABLE_XET": True,
            "HF_HUB_OFFLINE": False,
        }
        for name, value in values.items():
            monkeypatch.setattr(constants, name, value)
        # It waits longer and longer between attempts.
        monkeypatch.setattr("time.sleep", lambda seconds: None)
        logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
        huggingface_hub.close_session()
        yield server
        huggingface_hub.close_session()


@pytest.fixture
def web_cache(tmp_path):
    return tmp_path / "keras" / "models"


def go_offline(monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)


@contextlib.contextmanager
def unreachable_hub(monkeypatch):
    """The hub's address, with nobody there."""
    with Hub() as gone:
        pass
    with monkeypatch.context() as patch:
        for name, value in addresses(gone).items():
            patch.setattr(constants, name, value)
        yield gone


def hub_source(hub, **options):
    return hub.hub_file(CONTENT, **{"sha256": SHA256, **options})


def web_source(hub, name="tiny.pth", **options):
    return hub.web_file(CONTENT, name, **{"md5": MD5, **options})


def fetch(*sources, **options):
    path = fetching.fetch(tinynet.record(*sources), **options)
    assert path.read_bytes() == CONTENT
    return path


# From the hub


@pytest.mark.parametrize("revision", ["main", COMMIT])
@pytest.mark.parametrize("sha256", [SHA256, None])
def test_hub_then_cache(hub, revision, sha256):
    source = hub_source(hub, revision=revision, sha256=sha256)
    path = fetch(source)
    assert path.name == "model.safetensors"
    assert hub.downloads() == [hub.cdn(CONTENT)]
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


def test_hub_download_that_is_cut_is_resumed(hub, monkeypatch):
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1 << 16)
    hub.faults[hub.cdn(CONTENT)] = "cut"
    fetch(hub_source(hub))
    assert hub.downloads() == [hub.cdn(CONTENT)] * 2


# The next source


def test_fallback_when_the_hub_has_no_such_file(hub, web_cache):
    source, web = hub_source(hub), web_source(hub)
    hub.faults[hub.path(source)] = "missing"
    assert fetch(source, web) == web_cache / "tiny.pth"
    hub.requests.clear()
    assert fetch(source, web) == web_cache / "tiny.pth"
    assert hub.requests == []


def test_fallback_when_the_hub_is_unreachable(hub, web_cache, monkeypatch):
    web = web_source(hub)
    with unreachable_hub(monkeypatch):
        assert fetch(HubFile("someone/tiny"), web) == web_cache / "tiny.pth"


def test_fallback_when_the_hub_breaks_down(hub, web_cache):
    source, web = hub_source(hub), web_source(hub)
    hub.faults[hub.cdn(CONTENT)] = "reset"
    assert fetch(source, web) == web_cache / "tiny.pth"


def test_order_of_sources(hub):
    fetch(hub_source(hub), web_source(hub))
    assert hub.downloads() == [hub.cdn(CONTENT)]


def test_file_without_the_classifier_is_for_models_without(hub):
    full = web_source(hub, "full.h5")
    part = web_source(hub, "part.h5", has_top=False)
    assert fetch(part, full, with_head=False).name == "part.h5"
    assert fetch(part, full, with_head=True).name == "full.h5"
    with pytest.raises(WeightsUnavailableError):
        fetch(part, with_head=True)


def test_everything_unreachable(hub, monkeypatch, web_cache):
    with unreachable_hub(monkeypatch) as gone:
        missing = web_source(hub)
        hub.faults[hub.path(missing)] = "missing"
        refused = WebFile(f"{gone.url}/releases/refused.pth")
        nobody = HubFile("someone/tiny", "model.bin")
        with pytest.raises(WeightsUnavailableError) as info:
            fetch(nobody, missing, refused)
    message = str(info.value)
    assert isinstance(info.value, OSError)
    assert "'tiny.test'" in message
    assert "Check the network, or download a file elsewhere" in message
    assert "pass its path as `weights`" in message
    assert "hub file someone/tiny/model.bin: " in message
    assert f"{missing.url}: URL fetch failure on {missing.url}: 404" in message
    assert f"{refused.url}: " in message
    assert "refused" in message.rpartition(refused.url)[2]
    assert "\n" not in message
    assert not any(web_cache.iterdir())


# Bytes that are not to be trusted


@pytest.mark.parametrize("kind", ["hub", "md5", "prefix"])
def test_wrong_bytes(hub, kind, tmp_path):
    if kind == "hub":
        source, path = hub_source(hub), hub.cdn(CONTENT)
    elif kind == "md5":
        source = web_source(hub)
        path = hub.path(source)
    else:
        source = web_source(hub, md5=None, sha256_prefix=SHA256[:8])
        path = hub.path(source)
    hub.faults[path] = "wrong"
    with pytest.raises(CheckpointError) as info:
        fetch(source)
    assert "is not the file it should be" in str(info.value)
    assert "load again" in str(info.value)
    sizes = [p.stat().st_size for p in tmp_path.rglob("*") if p.is_file()]
    assert max(sizes, default=0) < len(CONTENT)
    del hub.faults[path]
    fetch(source)


def test_cached_file_that_rotted(hub, web_cache):
    source = web_source(hub)
    fetch(source).write_bytes(b"rotten")
    with pytest.raises(CheckpointError, match="It was removed"):
        fetch(source)
    assert not any(web_cache.iterdir())
    fetch(source)


@pytest.mark.parametrize("fault", ["cut", "reset"])
def test_broken_web_download_leaves_nothing(hub, fault, web_cache):
    source = web_source(hub, md5=None)
    hub.faults[hub.path(source)] = fault
    with pytest.raises(WeightsUnavailableError) as info:
        fetch(source)
    reason = {"cut": "got only 524288 out of 1048576 bytes", "reset": "reset"}
    assert reason[fault] in str(info.value)
    assert not any(web_cache.iterdir())
    del hub.faults[hub.path(source)]
    fetch(source)


def test_silent_server_is_given_up(hub, web_cache, monkeypatch):
    monkeypatch.setattr(fetching, "TIMEOUT", 0.2)
    source = web_source(hub)
    hub.faults[hub.path(source)] = "stall"
    with pytest.raises(WeightsUnavailableError, match="timed out"):
        fetch(source)
    assert not any(web_cache.iterdir())


# Several processes

SCRIPT = """
import sys
sys.path.insert(0, sys.argv[1])
import tinynet
from keras_resnext.weights import fetch as fetching
from keras_resnext.weights.records import HubFile, WebFile
for source in eval(sys.argv[2]):
    print("fetched", fetching.fetch(tinynet.record(source)))
"""


def start(*sources):
    folder = str(pathlib.Path(__file__).parent)
    root = str(pathlib.Path(load.__file__).parents[2])
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, folder, repr(sources)],
        env=os.environ
        | {"PYTHONPATH": root, "KERAS_BACKEND": keras.config.backend()},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_two_processes_at_once(hub):
    sources = [hub_source(hub), web_source(hub)]
    web = hub.path(sources[1])
    hub.faults[web] = "together"
    processes = [start(*sources) for _ in range(2)]
    outputs = [process.communicate(timeout=120)[0] for process in processes]
    for process, output in zip(processes, outputs, strict=True):
        assert process.returncode == 0, output
        assert output.count("fetched") == 2
    assert hub.downloads().count(web) == 2
    hub.requests.clear()
    for source in sources:
        fetch(source)
    assert hub.requests == []


def test_killed_download_is_not_trusted(hub, web_cache):
    source = web_source(hub, md5=None)
    hub.faults[hub.path(source)] = "stall"
    process = start(source)
    try:
        assert hub.half_sent.wait(120)
    finally:
        process.kill()
        process.communicate()
    assert not (web_cache / "tiny.pth").exists()
    del hub.faults[hub.path(source)]
    assert fetch(source) == web_cache / "tiny.pth"


# Into a model


@pytest.mark.parametrize("include_top", [True, False])
def test_record_is_loaded_and_remembered(hub, include_top):
    model = tinynet.build(include_top=include_top)
    full = tinynet.build()
    content = safetensors.numpy.save(tinynet.checkpoint(full))
    record = tinynet.record(hub.hub_file(content))
    assert model.weights_info is None
    load.load(model, record)
    assert model.weights_info is record
    expected = tinynet.random_values(full)
    own = tinynet.shapes(model)
    tinynet.assert_values(model, {key: expected[key] for key in own})


def test_failure_leaves_the_model_as_it_was(hub):
    model = tinynet.build()
    before = tinynet.values(model)
    content = safetensors.numpy.save(
        tinynet.checkpoint(tinynet.build(classes=7))
    )
    with pytest.raises(CheckpointError, match="7 classes"):
        load.load(model, tinynet.record(hub.hub_file(content)))
    assert model.weights_info is None
    tinynet.assert_values(model, before)
    source = hub.web_file(content, "tiny.pth")
    hub.faults[hub.path(source)] = "missing"
    with pytest.raises(WeightsUnavailableError):
        load.load(model, tinynet.record(source))
    assert model.weights_info is None
    tinynet.assert_values(model, before)
