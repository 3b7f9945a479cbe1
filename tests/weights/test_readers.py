"""Checkpoints of every format: read right, or refused in one sentence."""

import pathlib
import pickle
import re
import struct
import subprocess
import sys
import tracemalloc
import zipfile

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy
from checkpoint_files import MAKERS
from checkpoint_files import A
from checkpoint_files import B
from checkpoint_files import assert_cut_file_is_refused
from checkpoint_files import assert_flipped_byte_is_refused_or_harmless
from checkpoint_files import assert_refused
from checkpoint_files import assert_same
from checkpoint_files import ordered_dict
from checkpoint_files import plain
from checkpoint_files import storage
from checkpoint_files import tensor
from checkpoint_files import write_h5
from checkpoint_files import write_legacy
from checkpoint_files import write_zip

from keras_resnext.weights import files
from keras_resnext.weights import hdf5
from keras_resnext.weights import legacy_keras
from keras_resnext.weights import pickles
from keras_resnext.weights import pytorch
from keras_resnext.weights import readers
from keras_resnext.weights.readers import CheckpointError
from keras_resnext.weights.readers import read_checkpoint

MODULES = [files, hdf5, legacy_keras, pickles, pytorch, readers]
EVERY_FORMAT = pytest.mark.parametrize("make", MAKERS)


# Every format


@EVERY_FORMAT
@pytest.mark.parametrize("suffix", [".h5", ".pth", ".safetensors", ""])
def test_format_is_told_by_content(make, suffix, tmp_path):
    path = make(tmp_path / f"file{suffix}")
    assert_same(read_checkpoint(path), {"a": A, "b": B})
    assert_same(read_checkpoint(str(path)), {"a": A, "b": B})


@EVERY_FORMAT
def test_arrays_are_writeable_and_aligned(make, tmp_path):
    for array in read_checkpoint(make(tmp_path / "file")).values():
        assert array.flags.writeable
        assert array.flags.aligned


@EVERY_FORMAT
def test_cut_file_is_refused(make, tmp_path):
    content = make(tmp_path / "file").read_bytes()
    assert_cut_file_is_refused(content, tmp_path / "cut")


@EVERY_FORMAT
def test_flipped_byte_is_refused_or_harmless(make, tmp_path):
    content = make(tmp_path / "file").read_bytes()
    assert_flipped_byte_is_refused_or_harmless(content, tmp_path / "flipped")


@EVERY_FORMAT
def test_no_framework_is_imported(make, tmp_path):
    path = make(tmp_path / "file")
    # Past the package's own __init__, which imports Keras and its backend.
    code = """if True:
        import sys, types
        for name in ("keras_resnext", "keras_resnext.weights"):
            sys.modules[name] = types.ModuleType(name)
        sys.modules[name].__path__ = [sys.argv[1]]
        from keras_resnext.weights import readers
        assert len(readers.read_checkpoint(sys.argv[2])) == 2
        frameworks = {"torch", "tensorflow", "jax", "keras"}
        assert not frameworks & set(sys.modules), sys.modules.keys()
    """
    folder = pathlib.Path(readers.__file__).parent
    command = [sys.executable, "-c", code, str(folder), str(path)]
    subprocess.run(command, check=True)


@pytest.mark.parametrize("kind", ["safetensors", "zip", "legacy", "h5"])
def test_memory_is_that_of_the_weights(kind, tmp_path):
    path = tmp_path / "file"
    data = {"0": np.zeros(1 << 20, np.float32), "1": np.ones(1 << 20, np.int64)}
    view = b"N" if kind == "legacy" else b""
    body = ordered_dict(
        a=tensor(storage("0", 1 << 20, view=view), (1 << 20,), (1,)),
        b=tensor(storage("1", 1 << 20, "Long", view), (1 << 20,), (1,)),
    )
    if kind == "safetensors":
        safetensors.numpy.save_file(data, path)
    elif kind == "h5":
        write_h5(path, {"layer": data})
    else:
        {"zip": write_zip, "legacy": write_legacy}[kind](path, body, data)
    tracemalloc.start()
    try:
        arrays = read_checkpoint(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    weights = sum(array.nbytes for array in arrays.values())
    assert weights == 12 << 20
    assert peak < 1.3 * weights


# What is no checkpoint


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
        (b"", "is empty; delete it and download it again"),
        (b"\n <!DOCTYPE html>\n<html>404</html>", "web page"),
        (b"<HTML><body>Not found</body></HTML>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"just some text", "unknown format, not one of PyTorch, legacy"),
        (pickle.dumps({"a": 1}), "unknown format"),
        (b"\x1f\x8b\x08gzip", "unknown format"),
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
    assert_refused(path, "holds no weights")
    assert_refused(write_h5(path, {}), "holds no weights")
    assert_refused(write_zip(path, plain({}), {}), "holds no weights")
    assert_refused(write_legacy(path, plain({}), {}), "holds no weights")
    assert_refused(write_zip(path, plain([1]), {}), "holds no state dict")


# Keras' jax backend, as it saves, meets a deprecation of NumPy 2.
@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept")
def test_keras_3_files(tmp_path):
    keras = pytest.importorskip("keras")
    inputs = keras.Input((4,))
    layer = keras.layers.Dense(2, name="top")
    model = keras.Model(inputs, layer(inputs))
    model.save_weights(tmp_path / "model.weights.h5")
    model.save(tmp_path / "model.keras")
    words = "`model.load_weights` or `keras.saving.load_model`"
    assert_refused(tmp_path / "model.weights.h5", words)
    assert_refused(tmp_path / "model.keras", words)
    model.save(tmp_path / "model.h5")
    kernel, bias = model.get_weights()
    weights = {"top/kernel": kernel, "top/bias": bias}
    assert_same(read_checkpoint(tmp_path / "model.h5"), weights)


def test_zip_of_something_else(tmp_path):
    np.savez(tmp_path / "file.npz", a=A)
    assert_refused(tmp_path / "file.npz", "not one that PyTorch wrote")


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


@pytest.mark.parametrize("module", MODULES)
def test_module_depends_on_no_framework(module):
    source = pathlib.Path(module.__file__).read_text()
    imported = re.findall(r"^\s*(?:import|from) (\S+)", source, re.MULTILINE)
    known = {"ml_dtypes", "numpy", "safetensors"}
    known |= {other.__name__ for other in MODULES}
    known |= sys.stdlib_module_names
    assert {name.removesuffix(".abc") for name in imported} <= known
