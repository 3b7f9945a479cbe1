"""Checkpoints by address: hf://, https://, file://, and `~`."""

import dataclasses
import json
import pathlib
import re
import warnings

import keras
import pytest
import safetensors.numpy
import tinynet
import torch_helpers
from downloads import CONTENT
from downloads import SHA256
from downloads import go_offline
from downloads import unreachable_hub

import keras_resnext
from keras_resnext import DataConfig
from keras_resnext.cli import convert
from keras_resnext.cli import loading
from keras_resnext.weights.addresses import FetchedCheckpoint
from keras_resnext.weights.addresses import find_checkpoint
from keras_resnext.weights.argument import resolve
from keras_resnext.weights.fetch import WeightsUnavailableError
from keras_resnext.weights.files import CheckpointError

pytestmark = pytest.mark.once

HF = "hf://someone/tiny"
OTHER = "fedcba9876543210fedcba9876543210fedcba98"


@pytest.fixture(scope="module")
def weights():
    """Return the weights of a tiny model, as the content of a file."""
    return safetensors.numpy.save(tinynet.checkpoint(tinynet.shared()))


def publish(hub, weights, config):
    """Publish weights beside a config.json."""
    content = json.dumps(config).encode()
    hub.repository({"model.safetensors": weights, "config.json": content})


def stating(**stated):
    return {"architecture": "x", "pretrained_cfg": stated}


# Which file of a repository


@pytest.mark.parametrize(
    ("names", "after", "expected"),
    [
        (["model.safetensors", "pytorch_model.bin"], "", "model.safetensors"),
        (["optimizer.pt", "pytorch_model.bin"], "", "pytorch_model.bin"),
        (["tiny.pth", "config.yaml"], "", "tiny.pth"),
        (["a.pth", "b.pth"], "/b.pth", "b.pth"),
        (["model.safetensors", "ema/model.safetensors"], "/ema", "ema/model."),
        (["ema/tiny.pth"], "/ema/tiny.pth", "ema/tiny.pth"),
        (["model.safetensors"], "@main", "model.safetensors"),
        (["model.safetensors"], "@main/model.safetensors", "model.saf"),
        (["model.safetensors"], "/", "model.safetensors"),
    ],
)
def test_file_of_a_repository(hub, weights, names, after, expected):
    hub.repository(dict.fromkeys(names, weights))
    found = find_checkpoint(f"{HF}{after}")
    assert isinstance(found, FetchedCheckpoint)
    assert expected in found.path.as_posix()
    assert found.address == f"{HF}{after}".rstrip("/")
    assert found.data_config is None
    assert hub.downloads() == [hub.cdn(weights)]
    assert found.path.read_bytes() == weights


@pytest.mark.parametrize("name", ["model.weights.h5", "model.keras"])
def test_file_of_keras(hub, name, tmp_path):
    source = tinynet.filled(tinynet.shared())
    path = tmp_path / name
    save = source.save if name == "model.keras" else source.save_weights
    save(path)
    hub.repository({name: path.read_bytes()})
    model = tinynet.filled(source, seed=2)
    keras_resnext.load_checkpoint(model, HF)
    tinynet.assert_values(model, tinynet.random_values(model, seed=1))
    assert keras_resnext.inspect_checkpoint(HF).layout == "keras"


def test_all_shards_of_an_index(hub):
    shards = {f"model-0000{i}-of-00002.safetensors": b"%d" % i for i in (1, 2)}
    index = {"weight_map": dict(zip("ab", shards, strict=True))}
    name = "model.safetensors.index.json"
    hub.repository(shards | {name: json.dumps(index).encode()})
    found = find_checkpoint(HF)
    assert found.path.name == name
    for shard, content in shards.items():
        assert (found.path.parent / shard).read_bytes() == content


@pytest.mark.parametrize(
    ("files", "after", "message"),
    [
        (["README.md"], "", "contains no readable weights. It contains README"),
        ([], "", "contains no readable weights. It contains nothing"),
        (
            ["a.pth", "b.pth"],
            "",
            "several files of weights: a.pth, b.pth. Name",
        ),
        (["a.pth"], "/c.pth", "does not exist; the repository contains a.pth"),
        (
            [f"{i}.txt" for i in range(20)],
            "",
            r"9\.txt and 10 more",
        ),
    ],
)
def test_repository_without_an_answer(hub, files, after, message):
    hub.repository({name: name.encode() for name in files})
    with pytest.raises(CheckpointError, match=message) as info:
        find_checkpoint(f"{HF}{after}")
    assert f"'{HF}{after}'" in str(info.value)
    assert hub.downloads() == []


@pytest.mark.parametrize(
    "index",
    [
        {"weight_map": {"a": "../../../../../evil"}},
        {"weight_map": {"a": "missing.safetensors"}},
        {"weight_map": {"a": 3}},
        {"weight_map": [1]},
        {},
        "text",
    ],
)
def test_index_that_leads_nowhere(hub, index):
    name = "model.safetensors.index.json"
    hub.repository({name: json.dumps(index).encode()})
    with pytest.raises(CheckpointError, match=r"lacks the file|lists no file"):
        find_checkpoint(HF)


@pytest.mark.parametrize("name", ["../evil.pth", "a\\..\\b.pth"])
def test_names_that_lead_out_of_the_cache(hub, name, tmp_path):
    hub.repository({"model.safetensors": b"", name: b"evil"})
    with pytest.raises(WeightsUnavailableError, match="not one of a Hugging"):
        find_checkpoint(f"{HF}/{name}")
    assert not any(path.is_file() for path in tmp_path.rglob("*"))


@pytest.mark.parametrize("answer", [b"", b"[]", b"{}", b'{"sha": 3}', b"\xff"])
def test_answer_that_is_not_the_hub_s(hub, answer):
    hub.files["/api/models/someone/tiny/revision/main"] = answer
    with pytest.raises(WeightsUnavailableError, match="not one of a Hugging"):
        find_checkpoint(HF)


def test_repository_that_is_not_there(hub):
    with pytest.raises(WeightsUnavailableError) as info:
        find_checkpoint("hf://someone/nothing")
    assert str(info.value).startswith("Can't get 'hf://someone/nothing': HTTP")
    assert "Check the address and the connection" in str(info.value)


# Which revision


def test_branch_that_moved_on(hub, weights, monkeypatch):
    hub.repository({"model.safetensors": b"old"})
    assert find_checkpoint(HF).path.read_bytes() == b"old"
    hub.repository({"model.safetensors": weights}, commit=OTHER)
    path = find_checkpoint(HF).path
    assert path.read_bytes() == weights
    # As long as nothing is new, nothing is downloaded.
    hub.requests.clear()
    assert find_checkpoint(HF).path == path
    assert len(hub.requests) == 1
    # Nobody to ask
    with unreachable_hub(monkeypatch), pytest.warns(UserWarning, match="Can't"):
        assert find_checkpoint(HF).path == path
    hub.faults["/api/models/someone/tiny/revision/main"] = "busy"
    with pytest.warns(UserWarning, match="503"):
        assert find_checkpoint(HF).path == path
    go_offline(monkeypatch)
    hub.requests.clear()
    assert find_checkpoint(HF).path == path
    with pytest.raises(WeightsUnavailableError, match="offline mode is on"):
        find_checkpoint("hf://someone/other")
    assert hub.requests == []


def test_commit_needs_no_second_question(hub, weights):
    hub.repository({"model.safetensors": weights}, revision=OTHER, commit=OTHER)
    path = find_checkpoint(f"{HF}@{OTHER}").path
    hub.requests.clear()
    assert find_checkpoint(f"{HF}@{OTHER}").path == path
    assert hub.requests == []


def test_rotted_file_of_a_repository(hub, weights):
    hub.repository({"model.safetensors": weights})
    path = find_checkpoint(HF).path
    path.write_bytes(bytes(len(weights)))
    with pytest.raises(CheckpointError, match="It was removed from the cache"):
        find_checkpoint(HF)
    assert find_checkpoint(HF).path.read_bytes() == weights


# What config.json states


@pytest.mark.parity
@pytest.mark.parametrize("names", [None, "list", "dict"])
def test_config_of_timm(hub, weights, names, tmp_path):
    torch_helpers.import_torchvision()
    timm = pytest.importorskip("timm")
    from timm.models._hub import load_model_config_from_path
    from timm.models._hub import save_config_for_hf

    model = timm.create_model("resnext26ts", num_classes=3)
    classes = ["n1", "n2", "n3"]
    given = {
        None: {},
        "list": {"label_names": classes},
        "dict": {
            "label_names": dict(enumerate(classes)),
            "label_descriptions": {"n1": "rose", "n3": "tulip"},
        },
    }[names]
    save_config_for_hf(model, tmp_path / "config.json", given)
    config = (tmp_path / "config.json").read_bytes()
    hub.repository({"model.safetensors": weights, "config.json": config})
    stated = dataclasses.asdict(find_checkpoint(HF).data_config)
    labels = {
        None: None,
        "list": ("n1", "n2", "n3"),
        "dict": ("rose", "n2", "tulip"),
    }[names]
    assert stated.pop("labels") == labels
    assert stated.pop("weights") is None
    cfg, _, _ = load_model_config_from_path(str(tmp_path))
    expected = timm.data.resolve_data_config(pretrained_cfg=cfg)
    assert stated.pop("size") == expected["input_size"][1]
    for key in ("mean", "std"):
        assert stated.pop(key) == tuple(expected[key])
    assert stated == {key: expected[key] for key in stated}
    assert stated.keys() == {"interpolation", "crop_pct"}


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        # As timm wrote it at first, without `pretrained_cfg`.
        (
            {
                "architecture": "resnext50_32x4d",
                "input_size": [3, 64, 64],
                "mean": [0.5, 0.4, 0.3],
                "labels": ["a", "b"],
            },
            {"size": 64, "mean": (0.5, 0.4, 0.3), "labels": ("a", "b")},
        ),
        # The root's labels are those of the weights.
        (
            {
                "architecture": "resnext50_32x4d",
                "label_names": ["x"],
                "pretrained_cfg": {"label_names": ["y"], "crop_pct": 1},
            },
            {"labels": ("x",), "crop_pct": 1.0},
        ),
        (stating(std=[0.5]), {"std": (0.5, 0.5, 0.5)}),
        (stating(input_size=[3, 4, 5]), {}),
        ({"module": "keras", "class_name": "Functional"}, None),
        ([], None),
    ],
)
def test_config(hub, weights, config, expected):
    publish(hub, weights, config)
    config = None if expected is None else DataConfig(**expected)
    assert find_checkpoint(HF).data_config == config


@pytest.mark.parametrize(
    "stated",
    [
        {"mean": "abc"},
        {"mean": [float("nan")] * 3},
        {"std": 3},
        {"crop_pct": "wide"},
        {"input_size": 224},
        {"input_size": [3, 224]},
        {"label_names": {"0": "a", "2": "b"}},
        {"label_names": 3},
        {"label_names": ["a\nb"]},
        {"label_names": ["a"], "label_descriptions": ["b"]},
    ],
)
def test_config_that_makes_no_sense(hub, weights, stated):
    publish(hub, weights, stating(**stated))
    with pytest.raises(CheckpointError, match="can't be understood"):
        find_checkpoint(HF)


def test_model_knows_what_config_states(hub, weights):
    stated = {
        "mean": [0.5, 0.4, 0.3],
        "std": [0.2, 0.2, 0.1],
        "interpolation": "bicubic",
        "crop_pct": 0.95,
        "input_size": [3, 160, 160],
    }
    expected = keras_resnext.DataConfig(
        (0.5, 0.4, 0.3), (0.2, 0.2, 0.1), "bicubic", 0.95, 160
    )
    names = tuple("abcde")
    publish(hub, weights, stating(**stated, label_names=names))
    model = tinynet.build(weights=HF)
    tinynet.assert_values(model, tinynet.random_values(model))
    labeled = dataclasses.replace(expected, labels=names)
    assert keras_resnext.get_data_config(model) == labeled
    copy = keras.models.clone_model(model)
    assert keras_resnext.get_data_config(copy) == labeled
    model = tinynet.build(include_top=False, weights=HF)
    assert keras_resnext.get_data_config(model) == expected


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        ({"label_names": ["a", "b"]}, "2 labels for 5 classes"),
        ({"interpolation": "lanczos"}, "must be one of bilinear, bicubic"),
        ({"std": [0.0, 1.0, 1.0]}, "`std` above 0"),
        ({"crop_pct": -1}, "`crop_pct` must be"),
    ],
)
def test_config_that_does_not_fit(hub, weights, stated, message):
    publish(hub, weights, stating(**stated))
    model = tinynet.shared()
    before = tinynet.values(model), keras_resnext.get_data_config(model)
    with pytest.raises(CheckpointError, match=message):
        keras_resnext.load_checkpoint(model, HF)
    tinynet.assert_values(model, before[0])
    assert keras_resnext.get_data_config(model) == before[1]


def test_config_that_is_no_json(hub, weights):
    for content in (b"{", b"\xff", b"[" * 100_000):
        hub.repository({"model.safetensors": weights, "config.json": content})
        with pytest.raises(CheckpointError, match="is not a JSON file"):
            find_checkpoint(HF)


def test_config_with_another_crop(hub, weights):
    publish(hub, weights, stating(crop_mode="squash"))
    with pytest.warns(UserWarning, match="crop_mode='squash'"):
        assert find_checkpoint(HF).data_config == DataConfig()


# The web


def test_web_address(hub, weights, web_cache):
    address = hub.web_file(weights, "tiny.pth").url
    found = find_checkpoint(f"{address}?download=true#top")
    assert found.path.read_bytes() == weights
    hub.requests.clear()
    found = find_checkpoint(f"{address}?download=true")
    assert found.path.parent == web_cache
    assert hub.requests == []
    assert find_checkpoint(address).path != found.path


@pytest.mark.parametrize(
    ("digits", "right"),
    [
        (SHA256[:8], True),
        (SHA256, True),
        ("0" * 8, False),
        # A date is no hash, and seven digits are none.
        ("20240131", True),
        ("abcdef0", True),
    ],
)
def test_web_address_with_a_hash(hub, digits, right, web_cache):
    address = hub.web_file(CONTENT, f"tiny-{digits}.pth").url
    if right:
        assert find_checkpoint(address).path.read_bytes() == CONTENT
        return
    with pytest.raises(CheckpointError, match="are taken for its SHA-256"):
        find_checkpoint(address)
    assert not any(web_cache.iterdir())


def test_web_address_of_a_page(hub):
    source = hub.web_file(b"<html>", "tiny.pth")
    hub.faults[hub.path(source)] = "page"
    with pytest.raises(WeightsUnavailableError, match="is a web page"):
        find_checkpoint(source.url)


@pytest.mark.parametrize(
    "address",
    [
        "http://127.0.0.1:1/x.pth",
        "https://[x/y",
        "http://ü:x/y",
    ],
)
def test_web_address_without_an_answer(hub, address):
    with pytest.raises((ValueError, WeightsUnavailableError)) as info:
        find_checkpoint(address)
    assert "\n" not in str(info.value)


@pytest.mark.parametrize(
    "after",
    [
        "",
        "/resolve/main/model.safetensors?download=true",
        "/blob/main/model.safetensors",
        "/tree/main",
    ],
)
def test_pages_of_the_hub(hub, weights, after):
    hub.repository({"model.safetensors": weights})
    found = find_checkpoint(f"{hub.url}/someone/tiny{after}")
    assert found.address.startswith(HF)
    assert found.path.read_bytes() == weights


# This machine


def test_local_addresses(tmp_path, weights, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    path = tmp_path / "a file.safetensors"
    path.write_bytes(weights)
    for address in [
        "~/a file.safetensors",
        pathlib.Path("~/a file.safetensors"),
        path.as_uri(),
        path.as_uri().replace("file:///", "file://localhost/"),
        pathlib.Path(f"file://{path}"),
        str(path),
        path,
    ]:
        assert find_checkpoint(address) == path
        assert keras_resnext.inspect_checkpoint(address).classes == 5
    model = tinynet.shared()
    keras_resnext.load_checkpoint(model, address)
    tinynet.assert_values(model, tinynet.random_values(model))
    other = tmp_path / "other.safetensors"
    keras_resnext.save_torch_checkpoint(model, "~/other.safetensors")
    assert other.exists()


def test_path_that_looks_like_an_address(tmp_path, weights, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = pathlib.Path("s3:/bucket/x.safetensors")
    path.parent.mkdir(parents=True)
    path.write_bytes(weights)
    assert find_checkpoint("s3://bucket/x.safetensors").exists()


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("s3://bucket/model.pth", "kind s3:// can't be opened. Download"),
        ("kaggle://keras/resnet", "kind kaggle:// can't be opened. Download"),
        ("hf://tiny", "is hf://owner/name, optionally"),
        ("hf://../..", "is hf://owner/name, optionally"),
        ("hf://someone/tiny@", "is hf://owner/name, optionally"),
        ("hf://someone/tiny@..", "There is no revision '..' of someone/tiny"),
        ("hf://someone/tiny@%2e%2e", "There is no revision '..' of someone"),
        ("file://server/model.pth", "must name a file of this machine"),
    ],
)
def test_addresses_that_are_refused(address, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        keras_resnext.load_checkpoint(tinynet.shared(), address)


@pytest.mark.parametrize(
    "address", [HF, "hf-hub:someone/tiny", "HF://someone/tiny"]
)
def test_spellings_of_the_hub(hub, weights, address):
    hub.repository({"model.safetensors": weights})
    for given in (address, pathlib.Path(address)):
        assert find_checkpoint(given).address == HF
    assert resolve(address, None) == address


def test_model_of_an_address(hub, tmp_path):
    model = keras_resnext.get_model(
        "resnext26ts", weights=None, classes=3, input_shape=(64, 64, 3)
    )
    path = tmp_path / "model.safetensors"
    keras_resnext.save_torch_checkpoint(model, path)
    hub.repository({"model.safetensors": path.read_bytes()})
    info = keras_resnext.inspect_checkpoint(HF)
    assert info.variants == ("resnext26ts",)
    assert (info.layout, info.classes) == ("timm_byob", 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = keras_resnext.model_from_checkpoint(HF)
    assert found.name == "resnext26ts"
    tinynet.assert_values(found, tinynet.values(model))


def test_address_on_the_command_line(hub, tmp_path):
    model = tinynet.filled(tinynet.shared())
    path = tmp_path / "model.keras"
    model.save(path)
    hub.repository({path.name: path.read_bytes()})
    found = loading.load_for_export(HF, None)
    tinynet.assert_values(found, tinynet.values(model))
    output = tmp_path / "model.weights.h5"
    report = convert.convert(HF, None, keras.Model.save_weights, output)
    assert report["source"] == HF
    assert report["source_bytes"] == path.stat().st_size
