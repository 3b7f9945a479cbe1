"""PyTorch's checkpoints, written by hand and by torch itself."""

import pickle

import ml_dtypes
import numpy as np
import pytest
from checkpoint_files import DTYPES
from checkpoint_files import MAGIC
from checkpoint_files import PICKLED
from checkpoint_files import A
from checkpoint_files import B
from checkpoint_files import assert_refused
from checkpoint_files import assert_same
from checkpoint_files import call
from checkpoint_files import make_legacy
from checkpoint_files import name
from checkpoint_files import ordered_dict
from checkpoint_files import plain
from checkpoint_files import read_checkpoint
from checkpoint_files import storage
from checkpoint_files import tensor
from checkpoint_files import two_tensors
from checkpoint_files import write_zip

pytestmark = pytest.mark.once

# PyTorch's pickles, without torch


@PICKLED
def test_strides_offsets_and_shared_storages(write, view, tmp_path):
    shared = storage("0", 6, view=view)
    body = ordered_dict(
        whole=tensor(shared, (2, 3), (3, 1)),
        transposed=tensor(shared, (3, 2), (1, 3)),
        column=tensor(shared, (2,), (3,), offset=1),
        last=tensor(shared, (), (), offset=5),
        none=tensor(shared, (0, 3), (3, 1)),
        old=tensor(shared, (6,), (1,), rest=b"", function="")[:-2] + b"tR",
    )
    arrays = read_checkpoint(write(tmp_path / "file", body, {"0": A}))
    expected = {
        "whole": A,
        "transposed": A.T,
        "column": A[:, 1],
        "last": A[1, 2],
        "none": A[:0],
        "old": A.ravel(),
    }
    expected = {key: np.asarray(value) for key, value in expected.items()}
    assert_same(arrays, expected)
    assert np.shares_memory(arrays["whole"], arrays["transposed"])


@PICKLED
@pytest.mark.parametrize("module", ["torch", "torch.cuda"])
def test_dtypes(write, view, module, tmp_path):
    for kind, dtype in DTYPES.items():
        value = A.astype(dtype)
        source = storage("0", 6, name(module, f"{kind}Storage"), view)
        body = ordered_dict(a=tensor(source, (2, 3), (3, 1)))
        path = write(tmp_path / "file", body, {"0": value})
        assert_same(read_checkpoint(path), {"a": value})


@PICKLED
def test_dtype_without_a_storage_of_its_own(write, view, tmp_path):
    untyped = name("torch.storage", "UntypedStorage")
    value = np.arange(6, dtype=np.uint16)
    rest = b"\x89" + call("collections", "OrderedDict")
    rest += name("torch", "uint16")
    source = storage("0", 12, untyped, view)
    body = ordered_dict(
        a=tensor(source, (6,), (1,), rest=rest, function="_v3"),
        b=tensor(source, (5,), (1,), 1, rest=rest + b"}", function="_v3"),
    )
    path = write(tmp_path / "file", body, {"0": value.view(np.uint8)})
    assert_same(read_checkpoint(path), {"a": value, "b": value[1:]})


@pytest.mark.parametrize("dtype", [np.float32, ml_dtypes.bfloat16, np.bool_])
def test_byteorder(dtype, tmp_path):
    value = A.astype(dtype)
    kind = next(key for key, value in DTYPES.items() if value is dtype)
    body = ordered_dict(a=tensor(storage("0", 6, kind), (3, 2), (1, 3)))
    swapped = value.view(f"u{value.itemsize}").byteswap()
    for order, data in [("little", value), ("big", swapped), (None, value)]:
        path = write_zip(tmp_path / "file", body, {"0": data}, order)
        assert_same(read_checkpoint(path), {"a": value.T})
    path = write_zip(tmp_path / "file", body, {"0": value}, "middle")
    assert_refused(path, "byte order 'middle'")


@PICKLED
@pytest.mark.parametrize("key", ["state_dict", "model_ema"])
def test_training_checkpoint(write, view, key, tmp_path):
    dtype = call("numpy", "dtype", plain("f8"), plain(False), plain(True))
    dtype += plain((3, "<", None, None, None, -1, -1, 0)) + b"b"
    value = call("_codecs", "encode", plain("\x00" * 8), plain("latin1"))
    entries = {
        "epoch": plain(90),
        "arch": plain("resnext50_32x4d"),
        "best_acc1": call("numpy.core.multiarray", "scalar", dtype, value),
        "best_acc5": call("numpy._core.multiarray", "scalar", dtype, value),
        "device": call("torch", "device", plain("cuda:0")),
        "size": call("torch", "Size", plain([2, 3])),
        "dtype": name("torch", "float32"),
        "milestones": call("collections", "Counter", plain({30: 1})),
        key: two_tensors(view) + plain({"_metadata": {}}) + b"b",
    }
    if key == "state_dict":
        entries["model"] = ordered_dict(c=plain(1))
    path = write(tmp_path / "file", ordered_dict(**entries), {"0": A, "1": B})
    assert_same(read_checkpoint(path), {"a": A, "b": B})


def test_only_the_weights_are_loaded(tmp_path):
    lost = tensor(storage("lost", 1 << 40), (1 << 40,), (1,))
    body = ordered_dict(optimizer=lost, model=two_tensors())
    path = write_zip(tmp_path / "file", body, {"0": A, "1": B})
    assert_same(read_checkpoint(path), {"a": A, "b": B})


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["module.a", "module.module.a"], ["a", "module.a"]),
        (["module.a", "b"], ["a", "b"]),
        (["module.a", "a"], ["module.a", "a"]),  # or one would be lost
        (["_orig_mod.a", "_orig_mod.module.b"], ["a", "b"]),
        (["module._orig_mod.a", "my_orig_mod.b"], ["a", "my_orig_mod.b"]),
        (["l.0._orig_mod.a"], ["l.0.a"]),
        (["l._checkpoint_wrapped_module.a"], ["l.a"]),
        (["_fsdp_wrapped_module.l._fsdp_wrapped_module.a"], ["l.a"]),
        (["submodule.a", "_forward_module.b"], ["submodule.a", "b"]),
    ],
)  # fmt: skip
def test_wrappers_are_taken_off_names(names, expected, tmp_path):
    a = tensor(storage("0", 6), (2, 3), (3, 1))
    items = {**dict.fromkeys(names, a), "step": plain(3)}
    path = write_zip(tmp_path / "file", ordered_dict(**items), {"0": A})
    assert_same(read_checkpoint(path), dict.fromkeys(expected, A))


@PICKLED
def test_parameters_and_non_string_names(write, view, tmp_path):
    data = tensor(storage("0", 6, view=view), (2, 3), (3, 1))
    hooks = call("collections", "OrderedDict")
    body = ordered_dict(
        a=call("torch._utils", "_rebuild_parameter", data, b"\x88", hooks),
        b=call("torch.nn.parameter", "Parameter", data, b"\x88"),
    )
    body += plain(7) + data + b"s"
    path = write(tmp_path / "file", body, {"0": A})
    assert_same(read_checkpoint(path), {"a": A, "b": A})


def test_python_2_names(tmp_path):
    a = tensor(storage("0", 6), (2, 3), (3, 1))
    body = b"}U\x01a" + a + b"sU\x02\xff\xfeK\x01s"
    path = write_zip(tmp_path / "file", body, {"0": A})
    assert_same(read_checkpoint(path), {"a": A})


def test_legacy_with_a_frame(tmp_path):
    """Protocol 4 puts a frame before the magic number."""
    path = make_legacy(tmp_path / "file")
    number, framed = (pickle.dumps(MAGIC, protocol=p) for p in (2, 4))
    assert len(framed) > len(number)
    path.write_bytes(path.read_bytes().replace(number, framed))
    assert_same(read_checkpoint(path), {"a": A, "b": B})


def test_legacy_of_another_version(tmp_path):
    path = make_legacy(tmp_path / "file")
    path.write_bytes(path.read_bytes().replace(plain(1001), plain(1002)))
    assert_refused(path, "unknown version 1002")


# PyTorch's pickles, written by torch


def torch_save(path, value, legacy, **options):
    torch = pytest.importorskip("torch")
    zipped = not legacy
    torch.save(value, path, _use_new_zipfile_serialization=zipped, **options)
    return path


BOTH = pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])


@pytest.mark.parity
@BOTH
@pytest.mark.parametrize("protocol", [2, 4])
def test_torch_module(legacy, protocol, tmp_path):
    torch = pytest.importorskip("torch")
    model = torch.nn.Sequential(
        torch.nn.Conv2d(4, 8, 3, groups=2), torch.nn.BatchNorm2d(8)
    )
    state = model.state_dict()
    expected = {key: value.numpy() for key, value in state.items()}
    assert expected["1.num_batches_tracked"].shape == ()
    path = tmp_path / "file"
    torch_save(path, state, legacy, pickle_protocol=protocol)
    assert_same(read_checkpoint(path), expected)
    torch_save(path, dict(model.named_parameters()), legacy)
    parameters = dict(list(expected.items())[:4])
    assert_same(read_checkpoint(path), parameters)


@pytest.mark.parity
@BOTH
def test_torch_dtypes_and_views(legacy, tmp_path):
    torch = pytest.importorskip("torch")
    x = torch.arange(24.0).reshape(2, 3, 4)
    views = [x, x.permute(2, 0, 1), x[:, 1], x[1, :, ::2], x[0, 0, 3], x[:0]]
    names = "half bfloat16 double int8 uint8 int16 int32 int64 bool"
    casts = [x.to(getattr(torch, n)) for n in names.split()]
    casts += [x.to(torch.bfloat16)[:, 1:]]
    casts += [x.to(torch.uint16)]
    values = {f"{i}": value for i, value in enumerate([*views, *casts])}
    arrays = read_checkpoint(torch_save(tmp_path / "file", values, legacy))
    assert list(arrays) == list(values)
    for key, value in values.items():
        dtype = str(value.dtype).removeprefix("torch.")
        assert arrays[key].dtype.name == dtype
        assert arrays[key].tolist() == value.tolist()
    assert np.shares_memory(arrays["0"], arrays["1"])


@pytest.mark.parity
@BOTH
def test_torch_expanded_tensor_is_refused(legacy, tmp_path):
    torch = pytest.importorskip("torch")
    value = {"a": torch.ones(1).expand(9)}
    assert_refused(torch_save(tmp_path / "file", value, legacy), "exceeds")
