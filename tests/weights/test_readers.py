"""Checkpoints of every format: read right, or refused in one sentence."""

import bz2
import io
import json
import lzma
import os
import pathlib
import pickle
import struct
import subprocess
import sys
import tarfile
import tracemalloc
import zipfile

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy
from checkpoint_files import MAKERS
from checkpoint_files import A
from checkpoint_files import B
from checkpoint_files import assert_damage_is_refused_or_harmless
from checkpoint_files import assert_refused
from checkpoint_files import assert_same
from checkpoint_files import plain
from checkpoint_files import read_checkpoint
from checkpoint_files import write_arrays
from checkpoint_files import write_h5
from checkpoint_files import write_legacy
from checkpoint_files import write_zip

from keras_resnext.weights import readers
from keras_resnext.weights.files import CheckpointError

pytestmark = pytest.mark.once

EVERY_FORMAT = pytest.mark.parametrize("make", MAKERS)


# Every format


@EVERY_FORMAT
def test_format_is_told_by_content(make, tmp_path):
    for suffix in (".h5", ".pth", ".safetensors", ""):
        path = make(tmp_path / f"file{suffix}")
        arrays = read_checkpoint(str(path))
        assert_same(arrays, {"a": A, "b": B})
        for array in arrays.values():
            assert array.flags.writeable
            assert array.flags.aligned


@EVERY_FORMAT
def test_damaged_file(make, tmp_path):
    content = make(tmp_path / "file").read_bytes()
    assert_damage_is_refused_or_harmless(content, tmp_path / "damaged")


def test_no_framework_is_imported(tmp_path):
    """Nor HDF5's own library, for files of any format."""
    paths = [str(make(tmp_path / make.__name__)) for make in MAKERS]
    # Past the package's own __init__, which imports Keras and its backend.
    code = """if True:
        import sys, types
        for name in ("keras_resnext", "keras_resnext.weights"):
            sys.modules[name] = types.ModuleType(name)
        sys.modules[name].__path__ = [sys.argv[1]]
        from keras_resnext.weights import readers
        for path in sys.argv[2:]:
            with readers.open_checkpoint(path) as contents:
                assert len(contents.tensors) == 2
        frameworks = {"torch", "tensorflow", "jax", "keras", "h5py"}
        assert not frameworks & set(sys.modules), sys.modules.keys()
    """
    folder = pathlib.Path(readers.__file__).parent
    command = [sys.executable, "-c", code, str(folder), *paths]
    subprocess.run(command, check=True)


@pytest.mark.parametrize("kind", ["safetensors", "zip", "legacy", "h5"])
def test_memory_is_that_of_the_weights(kind, tmp_path):
    size = 1 << 20
    data = {"a/0": np.zeros(size, np.float32), "a/1": np.ones(size, np.int64)}
    path = write_arrays(tmp_path / "file", kind, data)
    tracemalloc.start()
    try:
        arrays = read_checkpoint(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    weights = sum(array.nbytes for array in arrays.values())
    assert weights == 12 * size
    assert peak < 1.3 * weights


# What is no checkpoint


def tar_of(content):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("storages"), io.BytesIO(content))
    return stream.getvalue()


def test_missing_file(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"no checkpoint file .*no\.pth"
    ):
        read_checkpoint(tmp_path / "no.pth")


def test_directory(tmp_path):
    assert_refused(tmp_path, "is not a file")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty; get a copy that is whole"),
        (b"\n <!DOCTYPE html>\n<html>404</html>", "web page"),
        (b"<HTML><body>Not found</body></HTML>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (
            b"just some text",
            "unknown format, not one of Keras, PyTorch",
        ),
        (pickle.dumps({"a": 1}), "a pickle that torch.save did not write"),
        (pickle.dumps({"a": A}), "a pickle of NumPy arrays"),
        (b"\x1f\x8b\x08gzip", "compressed by gzip; unpack it first (`gunzip`)"),
        (bz2.compress(b"a"), "compressed by bzip2"),
        (lzma.compress(b"a"), "compressed by xz"),
        (b"\x28\xb5\x2f\xfd", "compressed by Zstandard"),
        (b"PK\x05\x06" + bytes(18), "empty zip archive"),
        (b"\x93NUMPY\x01\0v\0{", "array of NumPy"),
        (bytes(4) + b"TFL3", "TensorFlow Lite"),
        (b"\x12\x01" + bytes(30), "MXNet"),
        (b"\x08\x08\x12\x07pytorch\x1a", "ONNX"),
        (tar_of(b"a"), "tar archive"),
    ],
)
def test_what_is_no_checkpoint(content, words, tmp_path):
    path = tmp_path / "model.pth"
    path.write_bytes(content)
    assert_refused(path, words)


def test_error_keeps_its_cause(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"PK\x03\x04")
    with pytest.raises(CheckpointError) as info:
        read_checkpoint(path)
    assert isinstance(info.value.__cause__, zipfile.BadZipFile)
    assert isinstance(info.value, ValueError)


def test_empty_checkpoints(tmp_path):
    path = tmp_path / "file"
    safetensors.numpy.save_file({}, path)
    assert_refused(path, "contains no weights")
    assert_refused(write_h5(path, {}), "contains no weights")
    assert_refused(write_zip(path, plain({}), {}), "contains no weights")
    assert_refused(write_legacy(path, plain({}), {}), "contains no weights")
    assert_refused(write_zip(path, plain([1]), {}), "contains no state dict")


def test_keras_3_files(tmp_path):
    keras = pytest.importorskip("keras")
    inputs = keras.Input((4,))
    layer = keras.layers.Dense(2, name="top")
    model = keras.Model(inputs, layer(inputs))
    model.save_weights(tmp_path / "model.weights.h5")
    model.save(tmp_path / "model.keras")
    kernel, bias = model.get_weights()
    weights = {"layers/dense/vars/0": kernel, "layers/dense/vars/1": bias}
    for name in ("model.weights.h5", "model.keras"):
        assert_same(read_checkpoint(tmp_path / name), weights)
        with (
            pytest.raises(CheckpointError, match="contains one set of weights"),
            readers.open_checkpoint(tmp_path / name, "ema"),
        ):
            pass
    model.save(tmp_path / "model.h5")
    weights = {"top/kernel": kernel, "top/bias": bias}
    assert_same(read_checkpoint(tmp_path / "model.h5"), weights)


def test_zip_of_something_else(tmp_path):
    np.savez(tmp_path / "file.npz", a=A)
    assert_refused(tmp_path / "file.npz", "is a NumPy archive (.npz)")
    with zipfile.ZipFile(tmp_path / "file.zip", "w") as archive:
        archive.writestr("run/last.pth", b"a")
    assert_refused(tmp_path / "file.zip", "contains 'run/last.pth'; unpack it")
    with zipfile.ZipFile(tmp_path / "file.zip", "w") as archive:
        archive.writestr("readme.txt", b"a")
    assert_refused(tmp_path / "file.zip", "not one that PyTorch wrote")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("model.onnx", "ONNX"),
        ("saved_model.pb", "graph of TensorFlow"),
        ("model.ckpt-5.index", "TensorFlow checkpoint"),
        ("model.ckpt-5.data-00000-of-00001", "TensorFlow checkpoint"),
        ("model.msgpack", "Flax"),
        ("__0_0.distcp", "dcp_to_torch_save"),
        ("config.json", "JSON file"),
        ("args.yaml", "text file"),
        (
            "weights.dat",
            "not one of Keras, PyTorch, legacy PyTorch, Keras HDF5",
        ),
    ],
)
def test_what_a_name_tells(name, words, tmp_path):
    path = tmp_path / name
    path.write_bytes(b"{}")
    assert_refused(path, words)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("zero_to_fp32.py", "folder of DeepSpeed"),
        ("mp_rank_00_model_states.pt", "folder of DeepSpeed"),
        (".metadata", "dcp_to_torch_save"),
        ("__0_0.distcp", "without its .metadata"),
        ("saved_model.pb", "SavedModel"),
        ("_CHECKPOINT_METADATA", "Orbax"),
        ("model.ckpt-5.index", "TensorFlow checkpoint"),
        ("model.safetensors", "name a file inside it: model.safetensors"),
        ("notes", "name a file inside it"),
    ],
)
def test_what_a_folder_is(name, words, tmp_path):
    (tmp_path / name).touch()
    assert_refused(tmp_path, words)


def test_pipe_is_not_opened(tmp_path):
    """Or else reading it never ends."""
    os.mkfifo(tmp_path / "pipe")
    assert_refused(tmp_path / "pipe", "a device or a pipe")


# Sharded checkpoints


def write_shards(folder, **changes):
    """Write two files of weights, and their index."""
    shards = {
        "model-00001-of-00002": {"a": A},
        "model-00002-of-00002": {"b": B},
    }
    for name, arrays in shards.items():
        safetensors.numpy.save_file(arrays, folder / f"{name}.safetensors")
    places = {
        key: f"{name}.safetensors"
        for name, arrays in shards.items()
        for key in arrays
    }
    path = folder / "model.safetensors.index.json"
    path.write_text(json.dumps({"weight_map": {**places, **changes}}))
    return path


def test_index_of_shards(tmp_path):
    path = write_shards(tmp_path)
    assert_same(read_checkpoint(path), {"a": A, "b": B})
    shard = tmp_path / "model-00002-of-00002.safetensors"
    assert_refused(shard, "is part 2 of 2 of a checkpoint; name the index")
    path = write_shards(tmp_path, c=shard.name)
    assert_refused(path, "names other weights than the files beside it")
    for other in ("../model-00002-of-00002.safetensors", path.name, "", ".."):
        assert_refused(write_shards(tmp_path, b=other), "not a file beside it")
    path = write_shards(tmp_path)
    shard.unlink()
    assert_refused(path, "which is not beside it; download")
    shard.write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"00002.safetensors is empty"):
        read_checkpoint(path)
    for text in ("{}", "{", '{"weight_map": {"a": 3}}'):
        path.write_text(text)
        assert_refused(path, "as an index file")


# Files that change


@EVERY_FORMAT
def test_file_that_changes_while_it_is_read(make, tmp_path):
    path = make(tmp_path / "file")

    def read():
        with readers.open_checkpoint(path) as contents:
            path.write_bytes(path.read_bytes()[:-1])
            for tensor in contents.tensors.values():
                np.asarray(tensor)

    with pytest.raises(CheckpointError, match="changed while it was read"):
        read()


# Safetensors


def test_safetensors_dtypes(tmp_path):
    dtypes = [np.float16, np.float64, ml_dtypes.bfloat16, np.int8, np.bool_]
    arrays = {f"{i}": A.astype(dtype) for i, dtype in enumerate(dtypes)}
    arrays["scalar"] = np.array(3, np.int64)
    safetensors.numpy.save_file(arrays, tmp_path / "file")
    actual = read_checkpoint(tmp_path / "file")
    assert_same(dict(sorted(actual.items())), arrays)


def test_safetensors_header_that_exceeds_the_file(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(struct.pack("<Q", 1 << 31) + b"{}")
    assert_refused(path, "as a safetensors file")
