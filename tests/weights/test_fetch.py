"""Sources in turn, wrong bytes, several processes, and into a model."""

import pathlib
import subprocess
import sys

import pytest
import safetensors.numpy
import tinynet
from downloads import CONTENT
from downloads import SHA256
from downloads import fetch
from downloads import hub_source
from downloads import unreachable_hub
from downloads import web_source

import keras_resnext
from keras_resnext.weights import fetch as fetching
from keras_resnext.weights.checkpoint import load_checkpoint
from keras_resnext.weights.fetch import WeightsUnavailableError
from keras_resnext.weights.files import CheckpointError
from keras_resnext.weights.records import HubFile
from keras_resnext.weights.records import PackageFile
from keras_resnext.weights.records import WebFile

pytestmark = pytest.mark.once

# The next source


@pytest.mark.parametrize("fault", ["missing", "reset"])
def test_fallback_from_the_hub(hub, fault, web_cache):
    source, web = hub_source(hub), web_source(hub)
    place = hub.path(source) if fault == "missing" else hub.cdn(CONTENT)
    hub.faults[place] = fault
    assert fetch(source, web) == web_cache / "tiny.pth"
    hub.requests.clear()
    assert fetch(source, web) == web_cache / "tiny.pth"
    assert hub.requests == []


def test_fallback_when_the_hub_is_unreachable(hub, web_cache, monkeypatch):
    web = web_source(hub)
    with unreachable_hub(monkeypatch):
        assert fetch(HubFile("someone/tiny"), web) == web_cache / "tiny.pth"


def test_fallback_from_the_web(hub, web_cache):
    missing, web = web_source(hub, "missing.pth"), web_source(hub)
    hub.faults[hub.path(missing)] = "missing"
    assert fetch(missing, hub_source(hub)).name == "model.safetensors"
    assert fetch(missing, web) == web_cache / "tiny.pth"


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
    assert "Check the connection, or download a file elsewhere" in message
    assert "pass its path as `weights`" in message
    assert "hub file someone/tiny/model.bin: " in message
    assert f"{missing.url}: HTTP Error 404" in message
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


@pytest.mark.parametrize("kind", ["hub", "md5", "prefix"])
def test_wrong_hash(hub, kind, tmp_path):
    source = {
        "hub": hub_source(hub, sha256="0" * 64),
        "md5": web_source(hub, md5="0" * 32),
        "prefix": web_source(hub, md5=None, sha256_prefix="0" * 8),
    }[kind]
    for _ in range(2):
        hub.requests.clear()
        with pytest.raises(CheckpointError, match="expected 0000"):
            fetch(source)
        assert len(hub.downloads()) == 1
    sizes = [p.stat().st_size for p in tmp_path.rglob("*") if p.is_file()]
    assert max(sizes, default=0) < len(CONTENT)


# Several processes

# Past the package's own __init__, which imports Keras and its backend.
SCRIPT = """
import sys, types
for name in ("keras_resnext", "keras_resnext.weights"):
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__path__ = [f"{sys.argv[1]}/{name.replace('.', '/')}"]
from keras_resnext.weights import fetch
from keras_resnext.weights.records import Evaluation, HubFile, WebFile, Weights
for row in eval(sys.argv[2]):
    print("fetched", fetch.fetch(row))
assert "keras" not in sys.modules
"""


def start(*sources):
    root = str(pathlib.Path(fetching.__file__).parents[2])
    rows = list(map(tinynet.record, sources))
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, root, repr(rows)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_two_processes_at_once(hub):
    sources = [hub_source(hub), web_source(hub)]
    web = hub.path(sources[1])
    # From the hub one downloads for both, from the web each for itself.
    hub.faults[hub.path(sources[0])] = "together"
    hub.faults[web] = "together"
    processes = [start(*sources) for _ in range(2)]
    outputs = [process.communicate(timeout=120)[0] for process in processes]
    for process, output in zip(processes, outputs, strict=True):
        assert process.returncode == 0, output
        assert output.count("fetched") == 2
    assert hub.downloads().count(hub.cdn(CONTENT)) == 1
    assert hub.downloads().count(web) == 2
    hub.requests.clear()
    for source in sources:
        fetch(source)
    assert hub.requests == []


def test_file_of_the_package(tmp_path, monkeypatch):
    monkeypatch.setattr(fetching, "BUNDLED", tmp_path)
    source = PackageFile("tiny.safetensors", SHA256)
    record = tinynet.record(source)
    with pytest.raises(CheckpointError, match="Reinstall keras_resnext"):
        fetching.fetch(record)
    path = tmp_path / "tiny.safetensors"
    path.write_bytes(CONTENT)
    assert fetching.fetch(record, with_head=False) == path
    path.write_bytes(CONTENT[:-1])
    with pytest.raises(CheckpointError, match=SHA256):
        fetching.fetch(record)
    assert path.exists()


def test_killed_download_is_not_trusted(hub, web_cache):
    source = web_source(hub, md5=None)
    hub.faults[hub.path(source)] = "stall"
    process = start(source)
    try:
        assert hub.half_sent.wait(120)
    finally:
        process.kill()
        process.communicate()
    assert not any(web_cache.glob("*.pth"))
    del hub.faults[hub.path(source)]
    assert [fetch(source)] == [*web_cache.glob("*.pth")]


# Into a model


@pytest.mark.parametrize("include_top", [True, False])
def test_record_is_loaded_and_remembered(hub, include_top):
    full = tinynet.shared()
    model = tinynet.build(include_top=include_top)
    content = safetensors.numpy.save(tinynet.checkpoint(full))
    record = tinynet.record(hub.hub_file(content))
    assert model.weights_info is None
    load_checkpoint(model, record)
    config = keras_resnext.get_data_config(model)
    best = record.evaluations[0]
    assert (config.weights, config.size) == (record.name, best.size)
    assert (config.mean, config.crop_pct) == (record.mean, best.crop_pct)
    expected = tinynet.random_values(full)
    own = tinynet.shapes(model)
    tinynet.assert_values(model, {key: expected[key] for key in own})


def test_failure_leaves_the_model_as_it_was(hub):
    model = tinynet.filled(tinynet.shared(), seed=2)
    tensors = tinynet.checkpoint(model)
    tensors["fc.bias"] = tensors["fc.bias"][:3]
    content = safetensors.numpy.save(tensors)
    with pytest.raises(CheckpointError, match="3 classes"):
        load_checkpoint(model, tinynet.record(hub.hub_file(content)))
    source = hub.web_file(content, "tiny.pth")
    hub.faults[hub.path(source)] = "missing"
    with pytest.raises(WeightsUnavailableError):
        load_checkpoint(model, tinynet.record(source))
    assert model.weights_info is None
    tinynet.assert_values(model, tinynet.random_values(model, seed=2))
