"""Hostile pickles and archives."""

import argparse
import copyreg
import os
import pickle
import pickletools
import struct
import zipfile

import pytest
from checkpoint_files import MAGIC
from checkpoint_files import PICKLED
from checkpoint_files import A
from checkpoint_files import B
from checkpoint_files import assert_refused
from checkpoint_files import assert_same
from checkpoint_files import call
from checkpoint_files import make_legacy
from checkpoint_files import make_zip
from checkpoint_files import name
from checkpoint_files import ordered_dict
from checkpoint_files import plain
from checkpoint_files import read_checkpoint
from checkpoint_files import storage
from checkpoint_files import stream
from checkpoint_files import tensor
from checkpoint_files import two_tensors
from checkpoint_files import write_legacy
from checkpoint_files import write_zip

pytestmark = pytest.mark.once

# Hostile pickles


def hostile(canary):
    """Pickles that would create the canary file, or reach further."""
    shell = plain(f"touch {canary}")
    python = plain(f"open({str(canary)!r}, 'w')")
    a = tensor(storage("0", 6), (2, 3), (3, 1))
    rebuild = name("torch._utils", "_rebuild_tensor_v2")
    setattr_state = plain((None, {"__call__": 1, "function": 2}))
    return {
        "system": (call("os", "system", shell), "'os.system'"),
        "eval2": (call("__builtin__", "eval", python), "'__builtin__.eval'"),
        "load": (call("torch", "load", plain("x")), "'torch.load'"),
        "dotted": (
            b"\x8c\x05torch\x8c\x15serialization.os.exec\x93",
            "'torch.serialization.os.exec'",
        ),
        "inst": (b"(" + shell + b"ios\nsystem\n", "opcode INST"),
        "obj": (b"(" + name("os", "system") + shell + b"o", "'os.system'"),
        "stack": (
            b"\x8c\x02os\x8c\x06system\x93" + shell + b"\x85R",
            "os.system",
        ),
        "newobj": (name("torch", "Size") + b")\x81", "missing"),
        "build function": (rebuild + setattr_state + b"b", "attribute"),
        "build function state": (rebuild + plain({"a": 1}) + b"b", "attribute"),
        "build tensor": (a + plain({"offset": 9}) + b"b", "attribute"),
        "build tensor slots": (a + plain((None, {"offset": 9})) + b"b", "set"),
        "build dtype": (
            name("torch", "float32") + plain((None, {"dtype": 9})) + b"b",
            "set",
        ),
        "call dtype": (call("torch", "float32"), "not callable"),
        "call storage": (storage("0", 6) + b")R", "not callable"),
        "call tensor": (a + b")R", "not callable"),
        "pid text": (b"P0\n", "opcode PERSID"),
        "pid string": (plain("0") + b"Q", "storage of an unknown kind"),
        "pid short": (plain(("storage", 1)) + b"Q", "storage of an unknown"),
        "pid module": (plain(("module", 1, "", "")) + b"Q", "unknown kind"),
        "pid key": (storage(("0",), 6), "storage of an unknown kind"),
        "pid kind": (storage("0", 6, plain("Float")), "storage of an unknown"),
        "pid length": (storage("0", -6), "storage of an unknown kind"),
        "pid float": (storage("0", 6.0), "storage of an unknown kind"),
        "pid view": (storage("0", 6, view=plain(("1", 0, 6))), "unknown kind"),
        "memo": (b"}r\xff\xff\xff\xff", "memo of 4294967295 entries"),
        "memo text": (b"}p99999999999\n", "opcode PUT"),
        "bytes": (b"\x8e" + struct.pack("<Q", 1 << 50), "ValueError"),
        "text": (b"\x8d" + struct.pack("<Q", 1 << 62), "ValueError"),
        "array": (b"\x96" + struct.pack("<Q", 1 << 50), "ValueError"),
        "no storage": (tensor(plain("0"), (2,), (1,)), "unknown kind"),
        "metadata": (
            tensor(
                storage("0", 6),
                (2,),
                (1,),
                rest=plain(False) + b"}" + plain({"odd": True}),
            ),
            "unknown kind",
        ),
        "no dtype": (
            tensor(
                storage("0", 6), (2,), (1,), rest=b"\x89}K\x01", function="_v3"
            ),
            "without a dtype",
        ),
        "size of text": (tensor(storage("0", 6), "ab", "ab"), "layout"),
        "size of bools": (tensor(storage("0", 6), (True,), (1,)), "layout"),
        "dimensions": (tensor(storage("0", 6), (2, 3), (1,)), "strides"),
        "negative shape": (tensor(storage("0", 6), (-2,), (1,)), "layout"),
        "negative stride": (tensor(storage("0", 6), (2,), (-1,), 3), "layout"),
        "negative offset": (tensor(storage("0", 6), (2,), (1,), -1), "layout"),
        "beyond": (tensor(storage("0", 6), (2, 3), (3, 1), 1), "exceeds"),
        "beyond by stride": (
            tensor(storage("0", 6), (2, 3), (4, 1)),
            "exceeds",
        ),
        "declared": (tensor(storage("0", 99), (99,), (1,)), ""),
        "wide dtype": (tensor(storage("0", 6, "Double"), (6,), (1,)), ""),
        "absurd": (tensor(storage("0", 1 << 80), (1 << 80,), (1,)), ""),
        "wraps": (tensor(storage("0", 6), (1 << 62, 4), (0, 0)), "exceeds"),
        "expanded": (tensor(storage("0", 6), (1 << 40,), (0,)), "exceeds"),
        "rank": (tensor(storage("0", 6), (1,) * 99, (1,) * 99), "ValueError"),
        "empty": (tensor(storage("0", 6), (0, 1 << 70), (1, 1)), ""),
        "far stride": (tensor(storage("0", 6), (1,), (1 << 70,)), ""),
        "no data": (tensor(storage("../data.pkl", 6), (6,), (1,)), ""),
    }


@PICKLED
@pytest.mark.parametrize("case", hostile(""))
def test_hostile_pickle_is_refused(write, view, case, tmp_path):
    canary = tmp_path / "canary"
    body, words = hostile(canary)[case]
    if words.startswith("'"):
        words = f"asks for the Python object {words}"
    body = plain({}) + plain("a") + body + b"s"
    path = write(tmp_path / "file", body, {"0": A})
    assert_refused(path, words)
    assert not canary.exists()
    # Nor did it leave anything behind in the reader.
    good = write(tmp_path / "good", two_tensors(view), {"0": A, "1": B})
    assert_same(read_checkpoint(good), {"a": A, "b": B})


INERT = {
    "name": name("builtins", "getattr"),
    "call": call("builtins", "getattr", name("torch", "Size"), plain("mro")),
    "partial": call("functools", "partial", name("builtins", "print")),
    "touch": call("pathlib", "Path.touch", plain("canary")),
    "bytes": call("torch.storage", "_load_from_bytes", plain("x")),
    "jit": name("__torch__.model", "Net") + b")\x81}b",
    "state": name("argparse", "Namespace") + b")\x81" + plain({"a": 1}) + b"b",
    "items": name("addict", "Dict") + b")\x81" + plain("a") + plain(1) + b"s",
    "list": name("mine", "List") + b")\x81K\x01a",
    "keywords": name("mine", "Odd") + b")}\x92",
    "of a tensor": name("mine", "Odd")
    + tensor(storage("0", 6), (6,), (1,))
    + b"\x85\x81",
    "defaultdict": call("collections", "defaultdict", name("builtins", "list")),
    "dtype": name("torch", "qint8"),
}


@pytest.mark.parametrize("case", INERT)
def test_other_objects_are_inert(case, tmp_path, monkeypatch):
    """Their classes are neither imported nor called."""
    monkeypatch.chdir(tmp_path)
    body = b"}" + plain("args") + INERT[case] + b"s"
    body += plain("state_dict") + two_tensors() + b"s"
    path = write_zip(tmp_path / "file", body, {"0": A, "1": B})
    assert_same(read_checkpoint(path), {"a": A, "b": B})
    assert os.listdir(tmp_path) == ["file"]
    # Nor are they weights.
    body = b"}" + plain("state_dict") + INERT[case] + b"s"
    assert_refused(write_zip(path, body, {}), "'state_dict'")


@pytest.mark.parametrize("place", range(5))
def test_no_pickle_of_a_legacy_file_is_trusted(place, tmp_path):
    canary = tmp_path / "canary"
    parts = [*map(plain, [MAGIC, 1001, {}]), plain({}), plain([])]
    parts[place] = call("os", "system", plain(f"touch {canary}"))
    if place == 0:  # what fits before a magic number that is still found
        parts[0] = call("os", "system") + b"0" + plain(MAGIC)
    path = tmp_path / "file"
    path.write_bytes(b"".join(map(stream, parts)))
    assert_refused(path, "'os.system'")
    assert not canary.exists()


def test_registered_extension_is_refused(tmp_path):
    canary = tmp_path / "canary"
    copyreg.add_extension("os", "system", 240)
    try:
        pickle.loads(b"\x80\x02\x82\xf0.")  # fills the cache of extensions
        body = b"\x82\xf0(" + plain(f"touch {canary}") + b"tR"
        path = write_zip(tmp_path / "file", body, {})
        assert_refused(path, "opcode EXT1")
    finally:
        copyreg.remove_extension("os", "system", 240)
    assert not canary.exists()


@PICKLED
def test_checkpoint_within_itself(write, view, tmp_path):
    body = b"}q\x01" + plain("model") + b"h\x01s"
    assert_refused(write(tmp_path / "file", body, {}), "contains no weights")


def test_state_can_not_shadow_a_method(tmp_path):
    body = two_tensors() + plain({"items": 1, "get": 2}) + b"b"
    path = write_zip(tmp_path / "file", body, {"0": A, "1": B})
    assert_same(read_checkpoint(path), {"a": A, "b": B})


def test_zip_checksum_is_verified(tmp_path):
    path = make_zip(tmp_path / "file")
    content = path.read_bytes()
    assert content.count(A.tobytes()) == 1
    path.write_bytes(content.replace(A.tobytes(), (A + 1).tobytes()))
    assert_refused(path, "Bad CRC-32")


@pytest.mark.parametrize("length", [3, 5, -4, 1 << 62])
def test_legacy_lengths_are_compared(length, tmp_path):
    path = make_legacy(tmp_path / "file")
    content, last = path.read_bytes(), B.tobytes()
    assert content.endswith(struct.pack("<q", 4) + last)
    start = content[: -8 - len(last)]
    path.write_bytes(start + struct.pack("<q", length) + last)
    assert_refused(path, "is cut or damaged")


def test_legacy_cut_in_the_optimizer(tmp_path):
    state = tensor(storage("1", 4, "Long", b"N"), (4,), (1,))
    weight = tensor(storage("0", 6, view=b"N"), (2, 3), (3, 1))
    body = ordered_dict(optimizer=state, model=ordered_dict(a=weight))
    path = write_legacy(tmp_path / "file", body, {"0": A, "1": B})
    assert_same(read_checkpoint(path), {"a": A})
    path.write_bytes(path.read_bytes()[:-1])
    assert_refused(path, "is cut or damaged")


def test_zip_entry_that_is_shorter_than_it_claims(tmp_path):
    """Or else the array's end would be whatever was in memory."""
    path = make_zip(tmp_path / "file")
    content = path.read_bytes()
    sizes = struct.pack("<II", A.nbytes, A.nbytes)
    assert content.count(sizes) == 2
    place = content.rindex(sizes)  # the directory's, after the local header's
    claim = struct.pack("<II", A.nbytes, A.nbytes + 4)
    path.write_bytes(content[:place] + claim + content[place + 8 :])
    assert_refused(path, "a storage is cut")


def test_zip_entry_that_is_longer_than_its_storage(tmp_path):
    """The entry has the size of another dtype."""
    path = write_zip(tmp_path / "file", two_tensors(), {"0": A, "1": B[:3]})
    assert_refused(path, "cut or damaged")
    half = two_tensors().replace(b"FloatStorage", b"HalfStorage")
    path = write_zip(tmp_path / "file", half, {"0": A, "1": B})
    assert_refused(path, "cut or damaged")


def test_legacy_file_with_more_behind(tmp_path):
    path = make_legacy(tmp_path / "file")
    path.write_bytes(path.read_bytes() + b"\0")
    assert_refused(path, "cut or damaged")


@pytest.mark.parametrize("key", [b")", b"K\x00", b"X\x01\0\0\0x"])
def test_legacy_keys_that_are_none(key, tmp_path):
    parts = [
        *map(plain, [MAGIC, 1001, {}]),
        two_tensors(b"N"),
        b"](" + key + b"e",
    ]
    path = tmp_path / "file"
    path.write_bytes(b"".join(map(stream, parts)) + bytes(99))
    assert_refused(path, "cut or damaged")


def test_storage_of_two_kinds(tmp_path):
    body = ordered_dict(
        a=tensor(storage("0", 6), (6,), (1,)),
        b=tensor(storage("0", 3, "Double"), (3,), (1,)),
    )
    path = write_zip(tmp_path / "file", body, {"0": A})
    assert_refused(path, "storage of an unknown kind")


def test_compressed_zip(tmp_path):
    path, data = tmp_path / "file", {"0": A, "1": B}
    write_zip(path, two_tensors(), data, compression=zipfile.ZIP_DEFLATED)
    assert_same(read_checkpoint(path), {"a": A, "b": B})
    write_zip(path, two_tensors(), data, compression=zipfile.ZIP_BZIP2)
    assert_refused(path, "packed in another way than PyTorch's")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_zip_with_two_parts_of_one_name(tmp_path):
    path = make_zip(tmp_path / "file")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("archive/data/0", bytes(24))
    assert_refused(path, "contains a part twice")


# Every opcode

REFUSED = {
    **{"INT": b"1\n", "LONG": b"1L\n", "FLOAT": b"1.0\n", "STRING": b"'a'\n"},
    **{"UNICODE": b"a\n", "PERSID": b"a\n", "GET": b"0\n", "PUT": b"0\n"},
    **{"INST": b"torch\nSize\n", "OBJ": b""},
    **{"EXT1": b"\1", "EXT2": b"\1\0", "EXT4": b"\1\0\0\0"},
    **{"LIST": b"", "DICT": b"", "DUP": b""},
    **{"NEXT_BUFFER": b"", "READONLY_BUFFER": b"", "LONG4": b"\1\0\0\0\1"},
    **{"BINBYTES8": b"\1" + bytes(8)},
    **{"BINUNICODE8": b"\1" + bytes(8)},
}
CODES = {o.name: o.code.encode("latin-1") for o in pickletools.opcodes}


@PICKLED
@pytest.mark.parametrize("opcode", REFUSED)
def test_other_opcodes_are_refused(write, view, opcode, tmp_path):
    body = two_tensors(view) + CODES[opcode] + REFUSED[opcode]
    path = write(tmp_path / "file", body, {"0": A, "1": B})
    assert_refused(path, f"the opcode {opcode}, which weights do not need")


class Odd:
    def __getnewargs_ex__(self):
        return (), {"a": 1}


def test_the_other_opcodes_are_needed():
    many = [[i] for i in range(300)]
    values = [None, True, 1, 1000, 100_000, 1 << 40, 1.5, {1}, {"a": 1}]
    values += [(), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), [], [1], {}]
    values.append({"a": 1, "b": 2})
    values += ["a", "a" * 256, b"a", b"a" * 256, A[0, 0], [*many, *many]]
    values += [argparse.Namespace(a=1), frozenset({1}), bytearray(b"a"), Odd()]
    for some in ((), (1, 2, 3)):
        values.append((*some, []))
        values[-1][-1].append(values[-1])  # holds itself
    used = {"BINPERSID", "BINSTRING", "SHORT_BINSTRING"}  # not of Python 3
    for protocol in range(2, 6):
        for value in [*values, values]:
            pickled = pickle.dumps(value, protocol)
            used |= {
                opcode.name for opcode, _, _ in pickletools.genops(pickled)
            }
    assert used == set(CODES) - set(REFUSED)
