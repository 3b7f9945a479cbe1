"""Strategies of PyTorch's files with hostile pickles."""

import io
import pickletools
import struct
import warnings
import zipfile
from typing import Any

from hypothesis import strategies as st
from mutations import NUMBERS
from mutations import Draw
from mutations import choose
from mutations import misnumbered
from mutations import place_in
from mutations import zip_fields

# What a hostile pickle calls, and with what. The first of each that ran would
# leave a file named as the canary.
HOSTILE = [
    ("os", "system", "touch {}"),
    ("subprocess", "Popen", ["touch", "{}"]),
    ("builtins", "eval", "open({!r}, 'w')"),
    ("__builtin__", "eval", "open({!r}, 'w')"),
    ("builtins", "open", "{}"),
    ("os", "mkdir", "{}"),
    ("pathlib", "Path.touch", "{}"),
    ("builtins", "__import__", "antigravity"),
    ("builtins", "getattr", "{}"),
    ("importlib", "import_module", "antigravity"),
    ("runpy", "run_path", "{}"),
    ("socket", "create_connection", ["localhost", 9]),
    ("ctypes", "CDLL", "{}"),
    ("pickle", "loads", "{}"),
    ("functools", "partial", "{}"),
    ("collections", "OrderedDict.fromkeys", "{}"),
    ("torch", "load", "{}"),
    ("torch.storage", "_load_from_bytes", "{}"),
    ("torch", "Size.__class__", "{}"),
    ("keras_resnext.weights.pickles", "unpickle", "{}"),
]
KNOWN = [
    ("collections", "OrderedDict"),
    ("torch", "Size"),
    ("torch", "FloatStorage"),
    ("torch", "HalfStorage"),
    ("torch", "float32"),
    ("torch._utils", "_rebuild_tensor_v2"),
    ("torch._utils", "_rebuild_tensor_v3"),
    ("torch._utils", "_rebuild_parameter"),
    ("builtins", "set"),
    ("numpy", "dtype"),
]


def _text(value: str) -> bytes:
    raw = value.encode("utf-8", "surrogatepass")
    return b"X" + struct.pack("<I", len(raw)) + raw


def _value(value: Any) -> bytes:
    if isinstance(value, list):
        return b"](" + b"".join(map(_value, value)) + b"e"
    return _text(value) if isinstance(value, str) else b"K" + bytes([value])


@st.composite
def gadget(draw: Draw, canary: str) -> bytes:
    """Opcodes that call, build or set what no checkpoint needs."""
    module, name, argument = choose(draw, *HOSTILE)
    words = argument if isinstance(argument, list) else [argument]
    words = [w.format(canary) if isinstance(w, str) else w for w in words]
    value = _value(words if isinstance(argument, list) else words[0])
    found = f"c{module}\n{name}\n".encode()
    stacked = _text(module) + _text(name) + b"\x93"
    pair = _value([module, name])
    return choose(
        draw,
        found + value + b"\x85R",
        found + b"(" + value + b"tR",
        stacked + value + b"\x85R",
        found + value + b"\x85\x81",
        found + value + b"\x85}\x92",
        b"(" + value + f"i{module}\n{name}\n".encode(),
        b"(" + found + value + b"o",
        b"}" + found + b"b",
        b"ccollections\nOrderedDict\n)R" + pair + b"b",
        b"ctorch\nSize\n" + found + b"\x85R" + value + b"\x85R",
        b"\x82\x01\x84\xff\xff\xff\x7f",
        found + b"Q",
        f"P{module}.{name}\n".encode(),
    )


@st.composite
def opcode(draw: Draw) -> bytes:
    """Any opcode there is, with an argument that may or may not be right."""
    kind = choose(draw, *pickletools.opcodes)
    code = kind.code.encode("latin-1")
    if kind.arg is None:
        return code
    if kind.arg.n > 0:
        number = choose(draw, *NUMBERS)
        return code + (number % 256**kind.arg.n).to_bytes(kind.arg.n, "little")
    if kind.arg.n == pickletools.UP_TO_NEWLINE:
        line = choose(draw, "1", "-1", "9" * 5000, "nan", "'a'", "L", "é")
        again = "\nsystem" if "pair" in kind.arg.name else ""
        return code + f"{line}{again}\n".encode("latin-1")
    body = draw(st.binary(max_size=9))
    size = {
        pickletools.TAKEN_FROM_ARGUMENT1: 1,
        pickletools.TAKEN_FROM_ARGUMENT4: 4,
        pickletools.TAKEN_FROM_ARGUMENT4U: 4,
        pickletools.TAKEN_FROM_ARGUMENT8U: 8,
    }[kind.arg.n]
    length = choose(draw, len(body), len(body), *NUMBERS) % 256**size
    return code + length.to_bytes(size, "little") + body


@st.composite
def nested(draw: Draw) -> bytes:
    """Draw what is deep, or grows each time that it is looked at."""
    n = choose(draw, 3, 40, 2000, 20_000)
    doubled = b"".join(
        b"r" + struct.pack("<I", i) + b"j" + struct.pack("<I", i) + b"\x86"
        for i in range(min(n, 2000))
    )
    return choose(
        draw,
        b")" + b"\x85" * n,
        b"]" * n + b"a" * (n - 1),
        b"(" * n + b"t" * n,
        b"}" + b"K\x01}" * n + b"s" * n,
        b"}" + b"X\x01\0\0\0a}" * n + b"s" * n,
        b"}" + b")" + b"\x85" * n + b"Ns",
        b"\x8f(" + b")" + b"\x85" * n + b"\x90",
        b"}" + b")" + doubled + b"Ns",
        b"(" + b")" + doubled + b"t",
        b"]\x94" + b"h\x00a" * n,
        b"ccollections\nOrderedDict\n](]K\x01aK\x02aet\x85R",
        b"ctorch\nSize\n(" + b"N" * n + b"t\x85R",
        b"(" * n,
        b"N" * n,
    )


@st.composite
def mispickled(draw: Draw, pickle: bytes, canary: str) -> bytes:
    """Draw a pickle with other opcodes, among them any that run code."""
    places = [place for _, _, place in pickletools.genops(pickle)]
    parts = [
        pickle[start:end]
        for start, end in zip(places, [*places[1:], None], strict=True)
    ]
    for _ in range(draw(st.integers(1, 3))):
        here, there = place_in(draw, parts), place_in(draw, parts)
        numbers = [i for i, p in enumerate(parts) if p[:1] in b"JKM\x8a"]
        texts = [i for i, p in enumerate(parts) if p[:1] in b"XU\x8c"]
        names = [i for i, p in enumerate(parts) if p[:1] == b"c"]
        match choose(
            draw, "opcode", "replace", "gadget", "gadget", "nested", "delete",
            "repeat", "swap", "name", "number", "text", "memo", "pop",
        ):  # fmt: skip
            case "opcode":
                parts.insert(here, draw(opcode()))
            case "replace":
                parts[here : here + 1] = [draw(opcode())]
            case "gadget":
                parts[here : here + draw(st.integers(0, 1))] = [
                    draw(gadget(canary))
                ]
            case "nested":
                parts[here : here + draw(st.integers(0, 1))] = [draw(nested())]
            case "delete" if len(parts) > 1:
                del parts[here]
            case "repeat":
                parts[here:here] = [parts[there]] * choose(draw, 1, 2, 300)
            case "swap":
                parts[here], parts[there] = parts[there], parts[here]
            case "name" if names:
                module, name, *_ = choose(draw, *HOSTILE, *KNOWN)
                place = choose(draw, *names)
                parts[place] = f"c{module}\n{name}\n".encode()
            case "number" if numbers:
                number = choose(draw, *NUMBERS, 2**2000 - 1)
                sign = choose(draw, 1, 1, -1)
                raw = (sign * number).to_bytes(254, "little", signed=True)
                parts[choose(draw, *numbers)] = b"\x8a\xfe" + raw
            case "text" if texts:
                place = choose(draw, *texts)
                other = choose(draw, "", "model", "../data.pkl", "\ud800\n")
                parts[place] = choose(
                    draw, _text(other), parts[choose(draw, *texts)]
                )
            case "memo":
                index = struct.pack("<I", choose(draw, *range(50), 2**31))
                parts.insert(here, choose(draw, b"j", b"r") + index)
            case "pop":
                parts.insert(here, choose(draw, b"0", b"1", b"2", b"a", b"u"))
    return b"".join(parts)


@st.composite
def mispickled_legacy(draw: Draw, content: bytes, canary: str) -> bytes:
    stream = io.BytesIO(content)
    pickles = []
    for _ in range(5):
        start = stream.tell()
        for _ in pickletools.genops(stream):
            pass
        pickles.append(content[start : stream.tell()])
    which = choose(draw, 0, 1, 2, 3, 3, 3, 3, 4)
    pickles[which] = draw(mispickled(pickles[which], canary))
    return b"".join(pickles) + stream.read()


@st.composite
def repacked_zip(draw: Draw, content: bytes, canary: str) -> bytes:
    """Another archive with true checksums, of other parts."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        parts = [(name, archive.read(name)) for name in archive.namelist()]
    pickled = draw(st.integers(0, 3))
    for i, (name, part) in enumerate(parts):
        if name.endswith("data.pkl") and pickled:
            parts[i] = name, draw(mispickled(part, canary))
    packing = zipfile.ZIP_STORED
    for _ in range(draw(st.integers(int(not pickled), 2))):
        here, there = place_in(draw, parts), place_in(draw, parts)
        (name, part), (_, piece) = parts[here], parts[there]
        match choose(draw, "pack", "drop", "twice", "swap", "cut", "grow",
                      "order", "name", "bomb"):  # fmt: skip
            case "pack":
                packing = choose(draw, 8, 12, 14)
            case "drop" if len(parts) > 1:
                del parts[here]
            case "twice":
                parts.append((name, piece))
            case "swap":
                parts[here] = name, piece
            case "cut":
                parts[here] = name, part[: place_in(draw, part)]
            case "grow":
                parts[here] = name, part * 2
            case "order":
                order = choose(draw, b"little", b"big", b"\xff", b"x" * 9999)
                parts.append(("archive/byteorder", order))
            case "name":
                names = ["data.pkl", "/data.pkl", "../x", "model.weights"]
                parts[here] = choose(draw, *names), part
            case "bomb":
                packing = zipfile.ZIP_DEFLATED
                parts[here] = name, bytes(choose(draw, 10_000, 5_000_000))
    stream = io.BytesIO()
    with (
        warnings.catch_warnings(action="ignore"),
        zipfile.ZipFile(stream, "w", packing) as archive,
    ):
        for name, part in parts:
            archive.writestr(name, part)
    data = stream.getvalue()
    fields = list(zip_fields(data))
    return draw(misnumbered(data, fields)) if draw(st.booleans()) else data
