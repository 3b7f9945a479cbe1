"""Keras' legacy HDF5 files, for which HDF5's own library is not safe."""

import struct
import tracemalloc
import zlib

import h5py
import ml_dtypes
import numpy as np
import pytest
from checkpoint_files import A
from checkpoint_files import B
from checkpoint_files import assert_refused
from checkpoint_files import assert_same
from checkpoint_files import read_checkpoint
from checkpoint_files import set_names
from checkpoint_files import write_arrays
from checkpoint_files import write_h5

pytestmark = pytest.mark.once

# What Keras writes


@pytest.mark.parametrize("root", ["/", "model_weights"])
@pytest.mark.parametrize("chunks", [None, 1, 2])
def test_names(root, chunks, tmp_path):
    layers = {
        "conv1_conv": {"conv1_conv/kernel:0": A, "conv1_conv/bias:0": B},
        "stem/bn": {"stem/bn/gamma": A, "odd:0:0": B},
    }
    path = write_h5(tmp_path / "file", layers, root, chunks)
    expected = {
        "conv1_conv/kernel": A,
        "conv1_conv/bias": B,
        "stem/bn/gamma": A,
        "odd:0": B,
    }
    assert_same(read_checkpoint(path), expected)


def test_duplicate_name(tmp_path):
    layers = {"a": {"kernel:0": A}, "b": {"kernel:0": B}}
    assert_refused(write_h5(tmp_path / "file", layers), "two weights one name")


def test_two_children_of_one_name(tmp_path):
    path = write_h5(tmp_path / "w.h5", {"a": {"one": A, "two": B}})
    path.write_bytes(path.read_bytes().replace(b"two\0\0", b"one\0\0"))
    assert_refused(path, "two children 'one'")


def test_without_numbers(tmp_path):
    path = write_h5(tmp_path / "file", {"a": {"b": "text"}})
    assert_refused(path, "contains neither floats nor integers in 'b'")


def test_bomb(tmp_path):
    path = write_h5(tmp_path / "file", {"a": {"b": A}})
    with h5py.File(path, "a") as file:
        del file["a/b"]
        file["a"].create_dataset("b", (1 << 40,), "f4", chunks=(1 << 20,))
    assert_refused(path, "unpack to 4398046511104 bytes")


@pytest.mark.parametrize("kind", ["external", "soft", "virtual", "storage"])
def test_that_reads_other_files(kind, tmp_path):
    secret = tmp_path / "secret"
    with h5py.File(secret, "w") as file:
        file["b"] = A
    path = write_h5(tmp_path / "file", {"a": {"b": A}})
    with h5py.File(path, "a") as file:
        group = file["a"]
        del group["b"]
        if kind == "external":
            group["b"] = h5py.ExternalLink(str(secret), "b")
        elif kind == "soft":
            group["b"] = h5py.SoftLink("/elsewhere")
        elif kind == "storage":
            external = [(str(secret), 0, 24)]
            group.create_dataset("b", (6,), "f4", external=external)
        else:
            layout = h5py.VirtualLayout((2, 3), "f4")
            layout[:] = h5py.VirtualSource(str(secret), "b", (2, 3))
            group.create_virtual_dataset("b", layout)
    linked = kind in ("external", "soft")
    assert_refused(path, "not itself contain" if linked else "in other files")


# HDF5 as h5py writes it


@pytest.mark.parametrize(
    "number", [1, 8, 9, 300, pytest.param(3000, marks=pytest.mark.slow)]
)
def test_groups_of_any_size(number, tmp_path):
    """From 9 links on they are in several leaves, from 257 on in nodes."""
    arrays = {f"layer{i}/kernel": A + i for i in range(number)}
    layers = {f"layer{i}": {f"layer{i}/kernel:0": A + i} for i in range(number)}
    chunks = -(-number // 100)
    path = write_h5(tmp_path / "file", layers, chunks=chunks)
    assert_same(read_checkpoint(path), arrays)


@pytest.mark.parametrize(
    "names", [["b", "c"], [b"b", b"c"], np.array([b"b", b"c"])]
)
def test_names_of_any_kind(names, tmp_path):
    """h5py makes lists to strings of any length, and arrays to fixed ones."""
    path = write_h5(tmp_path / "file", {"a": {"b": A, "c": B}})
    with h5py.File(path, "a") as file:
        file["a"].attrs["weight_names"] = names
        file.attrs["layer_names"] = ["a"]
    assert_same(read_checkpoint(path), {"b": A, "c": B})


@pytest.mark.parametrize("order", "<>")
def test_dtypes(order, tmp_path):
    kinds = ["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"]
    values = {kind: A.astype(f"{order}{kind}") for kind in kinds}
    path = write_h5(tmp_path / "file", {"a": values})
    expected = {kind: A.astype(kind) for kind in kinds}
    assert_same(read_checkpoint(path), expected)
    value = A.astype(ml_dtypes.bfloat16)
    path = write_arrays(tmp_path / "file", "h5", {"a/b": value})
    assert_same(read_checkpoint(path), {"a/b": value})


@pytest.mark.parametrize("shape", [(), (0,), (2, 0, 3), (1,) * 32])
def test_shapes(shape, tmp_path):
    value = np.ones(shape, np.float32)
    path = write_h5(tmp_path / "file", {"a": {"b": value}})
    assert_same(read_checkpoint(path), {"b": value})


def write_packed(path, value, chunk=None, **options):
    """Write one dataset with options, or of one chunk of these bytes."""
    with h5py.File(path, "w") as file:
        set_names(file, "layer_names", ["a"], None)
        set_names(file.create_group("a"), "weight_names", ["b"], None)
        data = None if chunk else value
        dataset = file["a"].create_dataset(
            "b", value.shape, value.dtype, data, **options
        )
        if chunk:
            dataset.id.write_direct_chunk((0,) * value.ndim, chunk)
    return path


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("compression", [None, "gzip"])
def test_chunks(shuffle, compression, tmp_path):
    value = np.arange(35, dtype=">f4").reshape(7, 5)
    options = {"shuffle": shuffle, "compression": compression}
    for chunks in [(7, 5), (3, 2), (1, 1), (7, 1)]:
        path = tmp_path / "file"
        write_packed(path, value, chunks=chunks, **options)
        assert_same(read_checkpoint(path), {"b": value.astype("f4")})


@pytest.mark.parametrize(
    "options",
    [{"compression": "lzf"}, {"fletcher32": True}, {"scaleoffset": 2}],
    ids=str,
)
def test_other_filters(options, tmp_path):
    path = write_packed(tmp_path / "file", A, **options)
    assert_refused(path, "HDF5 of a kind that Keras does not write")


def test_newer_hdf5(tmp_path):
    with h5py.File(tmp_path / "file", "w", libver="latest") as file:
        file["a"] = A
    assert_refused(tmp_path / "file", "save it again", "defaults of h5py")


# Lies


def test_gzip_bomb(tmp_path):
    """HDF5 unpacks a chunk to its end, whatever size it was to have."""
    bomb = zlib.compress(bytes(32 << 20), 9)
    path = tmp_path / "file"
    write_packed(path, A, bomb, chunks=A.shape, compression="gzip")
    tracemalloc.start()
    try:
        assert_refused(path, "cut or damaged")
        assert tracemalloc.get_traced_memory()[1] < 4 * len(bomb)
    finally:
        tracemalloc.stop()


def test_chunk_of_another_size(tmp_path):
    path = tmp_path / "file"
    for size in (0, 23, 25, 48):
        packed = zlib.compress(bytes(size))
        write_packed(path, A, packed, chunks=A.shape, compression="gzip")
        assert_refused(path)


def test_missing_chunk(tmp_path):
    """HDF5 returns zeros for chunks that were never written."""
    path = write_packed(tmp_path / "file", A, A[:1].tobytes(), chunks=(1, 3))
    assert_refused(path, "cut or damaged")


def test_dataset_never_written(tmp_path):
    path = write_h5(tmp_path / "file", {"a": {"b": A}})
    with h5py.File(path, "a") as file:
        del file["a/b"]
        file["a"].create_dataset("b", A.shape, "f4")
    assert_refused(path, "cut or damaged")


def move(path, name, place, size):
    """Says of a dataset that it is elsewhere, or of another size."""
    with h5py.File(path) as file:
        old = struct.pack("<QQ", file[name].id.get_offset(), file[name].nbytes)
    content = path.read_bytes()
    assert content.count(old) == 1
    path.write_bytes(content.replace(old, struct.pack("<QQ", place, size)))


def test_overlapping_data(tmp_path):
    path = write_h5(tmp_path / "file", {"a": {"b": A, "c": A + 1}})
    with h5py.File(path) as file:
        place = file["a/b"].id.get_offset()
    move(path, "a/c", place + 8, A.nbytes)
    assert_refused(path, "has parts that overlap")


@pytest.mark.parametrize(
    ("place", "size"),
    [
        *((n, 24) for n in (1 << 20, (1 << 64) - 1, (1 << 64) - 24)),
        *((1000, n) for n in (0, 20, 28, 1 << 40)),
    ],
)
def test_data_that_is_not_there(place, size, tmp_path):
    path = write_h5(tmp_path / "file", {"a": {"b": A}})
    move(path, "a/b", place, size)
    assert_refused(path, "cut or damaged")


def test_strings_without_end(tmp_path):
    """HDF5's library looks for the next one forever."""
    path = write_h5(tmp_path / "file", {"a": {"b": A}})
    with h5py.File(path, "a") as file:
        file.attrs["layer_names"] = ["a"]
    content = path.read_bytes()
    place = content.index(b"GCOL") + 24  # the size of the first
    for size in (0, (1 << 64) - 16, (1 << 64) - 1):
        damaged = struct.pack("<Q", size)
        path.write_bytes(content[:place] + damaged + content[place + 8 :])
        assert_refused(path, "cut or damaged")


def test_group_within_itself(tmp_path):
    path = write_h5(tmp_path / "file", {"a": {"b": A}})
    with h5py.File(path, "a") as file:
        file["a/a"] = file["a"]
        set_names(file["a"], "weight_names", ["a/" * 2000 + "b"], None)
    assert_refused(path, "has parts that overlap")


def test_tree_within_itself(tmp_path):
    layers = {f"{i}": {} for i in range(300)}
    path = write_h5(tmp_path / "file", layers)
    content = bytearray(path.read_bytes())
    root = content.index(b"TREE\0\1")
    content[root + 32 : root + 40] = struct.pack("<Q", root)
    path.write_bytes(content)
    assert_refused(path, "has two children")


@pytest.mark.parametrize("kind", [h5py.SoftLink("/a"), "external"])
def test_links_to_all_weights(kind, tmp_path):
    """Looking whether they are there must not open what they lead to."""
    other = write_h5(tmp_path / "other", {"a": {"b": A}})
    with h5py.File(tmp_path / "file", "w") as file:
        external = h5py.ExternalLink(str(other), "/")
        file["model_weights"] = external if kind == "external" else kind
    assert_refused(tmp_path / "file", "contains no weights")
