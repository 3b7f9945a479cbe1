"""Pickles of PyTorch's checkpoints, read without torch.

A pickle is a program. Here it runs on a machine that supports only the few
opcodes that checkpoints need. It imports nothing and calls only functions of
this file: any other class or function is a name, and an object made by it an
inert `Placeholder`. Python's own machine can be made to call, import and set
anything, and to overflow its stack.
"""

import pickle
import pickletools
import re
import reprlib
from collections.abc import Callable
from collections.abc import Iterable
from typing import Any
from typing import NamedTuple

import ml_dtypes
import numpy as np

from keras_resnext.weights.files import CheckpointError

# Ten times the steps for the largest model with its average and its optimizer.
_MAX_STEPS = 1 << 20
_MAX_ARGUMENTS = 8  # of _rebuild_tensor_v3
_MAX_RANK = 32


class _Storage(NamedTuple):
    key: str
    dtype: np.dtype
    length: int

    @property
    def nbytes(self) -> int:
        return self.length * self.dtype.itemsize


class PickledTensor(NamedTuple):
    storage: _Storage
    dtype: np.dtype
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    views: tuple[str, ...] = ()  # "neg", "conj"


class _DType(NamedTuple):
    dtype: np.dtype


class _Function(NamedTuple):
    function: Callable[..., Any]


class Name(NamedTuple):
    """Class or function that is not needed for weights."""

    name: str


class Placeholder:
    """Object of a class that is not needed for weights, such as a namespace.

    Attributes:
        name: Full name of the class, or of the function that would create it.
        entries: Items that were set, as for a subclass of `dict`.
    """

    __slots__ = ("entries", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self.entries: dict[str, Any] | None = None


def _ordered_dict(pairs: Any = ()) -> dict[str, Any]:
    items = _named(pairs)
    if pairs:
        pairs.clear()  # moved, not copied, to limit memory to the file's size
    return items


def _named(pairs: Iterable[Any]) -> dict[str, Any]:
    """Leave out keys other than text, which weights don't have.

    Hashing a tuple of tuples of tuples overflows the stack.
    """
    return {name: value for name, value in pairs if isinstance(name, str)}


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise pickle.UnpicklingError("a name that is not text")
    return value


def _tensor(
    storage: Any, offset: Any, shape: Any, strides: Any, *extras: Any
) -> PickledTensor:
    _requires_grad, _hooks, *metadata = extras or (False, None)
    views = metadata[0] if metadata else None
    # Metadata may be about views of the stored numbers, and nothing else.
    is_view = isinstance(views, dict) and views.keys() <= {"neg", "conj"}
    if not isinstance(storage, _Storage) or (views and not is_view):
        raise pickle.UnpicklingError("a tensor of an unknown kind")
    if len(shape) != len(strides):
        raise pickle.UnpicklingError("a tensor with too few or many strides")
    if len(shape) > _MAX_RANK:
        raise ValueError(f"a tensor of {len(shape)} dimensions")
    numbers = (offset, *shape, *strides)
    if not all(type(n) is int and n >= 0 for n in numbers):
        raise pickle.UnpicklingError(
            f"a tensor with layout {reprlib.repr(numbers)}"
        )
    return PickledTensor(
        storage,
        storage.dtype,
        offset,
        tuple(shape),
        tuple(strides),
        tuple(key for key, value in (views or {}).items() if value),
    )


def _tensor_v3(*args: Any) -> PickledTensor:
    """Rebuild a tensor of a dtype without storage class, such as uint16."""
    *typed, dtype = args[:7]
    if not isinstance(dtype, _DType):
        raise pickle.UnpicklingError("a tensor without a dtype")
    return _tensor(*typed, *args[7:])._replace(dtype=dtype.dtype)


def _first(value: Any, *_: Any) -> Any:
    """Return a value, without the arguments that only state its type."""
    return value


def _tensor_of_type(
    function: Any, _type: Any, arguments: Any, *_: Any
) -> PickledTensor | Placeholder:
    """Rebuild a tensor of a subclass, or with attributes of its own."""
    if isinstance(function, Name):
        return Placeholder(function.name)
    if function not in _REBUILD.values() or len(arguments) > _MAX_ARGUMENTS:
        raise pickle.UnpicklingError("a tensor of an unknown kind")
    return function.function(*arguments)


_DTYPES = {
    "Double": np.dtype(np.float64),
    "Float": np.dtype(np.float32),
    "Half": np.dtype(np.float16),
    "BFloat16": np.dtype(ml_dtypes.bfloat16),
    "Long": np.dtype(np.int64),
    "Int": np.dtype(np.int32),
    "Short": np.dtype(np.int16),
    "Char": np.dtype(np.int8),
    "Byte": np.dtype(np.uint8),
    "Bool": np.dtype(np.bool_),
}
_COMPLEX = {
    "ComplexFloat": np.dtype(np.complex64),
    "ComplexDouble": np.dtype(np.complex128),
}
# Storages of quantized tensors: their tensors are placeholders, but in a legacy
# file they have to be skipped.
_QUANTIZED = {
    "QInt8": np.dtype(np.int8),
    "QUInt8": np.dtype(np.uint8),
    "QInt32": np.dtype(np.int32),
}
_UNTYPED = [
    np.dtype(dtype)
    for dtype in (
        np.uint16,
        np.uint32,
        np.uint64,
        ml_dtypes.float8_e4m3fn,
        ml_dtypes.float8_e4m3fnuz,
        ml_dtypes.float8_e5m2,
        ml_dtypes.float8_e5m2fnuz,
    )
]
_REBUILD = {
    "torch._utils._rebuild_tensor": _Function(_tensor),
    "torch._utils._rebuild_tensor_v2": _Function(_tensor),
    "torch._utils._rebuild_tensor_v3": _Function(_tensor_v3),
    "torch._utils._rebuild_parameter": _Function(_first),
    "torch._utils._rebuild_parameter_with_state": _Function(_first),
    "torch.nn.parameter.Parameter": _Function(_first),
}

# Names that a state dict needs; others become placeholders.
_KNOWN: dict[str, Any] = {
    **_REBUILD,
    "torch._tensor._rebuild_from_type_v2": _Function(_tensor_of_type),
    "collections.OrderedDict": _Function(_ordered_dict),
    "collections.defaultdict": _Function(lambda *_: {}),
    "torch.Size": _Function(_first),
    "torch.storage.UntypedStorage": _DType(np.dtype(np.uint8)),
    **{
        f"{module}.{name}Storage": _DType(dtype)
        for module in ("torch", "torch.cuda")
        for name, dtype in {**_DTYPES, **_COMPLEX, **_QUANTIZED}.items()
    },
    **{
        f"torch.{dtype.name}": _DType(dtype)
        for dtype in [*_DTYPES.values(), *_COMPLEX.values(), *_UNTYPED]
    },
}

# Nothing is run, whatever its name. But a file that asks for one of these is
# not a checkpoint of any training: it attacks other programs that open it.
_MODULES = (
    r"(os|posix|nt|subprocess|sys|pty|shutil|socket|runpy|importlib|ctypes|"
    r"pickle|_pickle|marshal|webbrowser|antigravity)\."
)
_PROGRAMS = re.compile(
    rf"{_MODULES}|(builtins|__builtin__)\.(eval|exec|execfile|compile|open|"
    r"__import__|input|breakpoint|globals|setattr|delattr)$|io\.open$|"
    r"(torch|torch\.hub|torch\.serialization|torch\.jit|numpy|joblib)\.load$"
)
_REACHED = re.compile(rf"(^|\.){_MODULES}")  # as `torch` `hub.os.system`


# Opcodes that a checkpoint needs, and how many values each takes off the stack.
# Of the others, some run code, and most are older forms of these.
_TO_THE_MARK = -1
_OPCODES = {
    **dict.fromkeys(["PROTO", "FRAME", "STOP", "MARK"], 0),
    **dict.fromkeys(["NONE", "NEWTRUE", "NEWFALSE"], 0),
    **dict.fromkeys(["BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"], 0),
    **dict.fromkeys(["BINUNICODE", "SHORT_BINUNICODE"], 0),
    **dict.fromkeys(["BINSTRING", "SHORT_BINSTRING"], 0),
    **dict.fromkeys(["BINBYTES", "SHORT_BINBYTES", "BYTEARRAY8"], 0),
    **dict.fromkeys(["BINPUT", "LONG_BINPUT", "MEMOIZE"], 0),
    **dict.fromkeys(["BINGET", "LONG_BINGET"], 0),
    **dict.fromkeys(["EMPTY_TUPLE", "EMPTY_LIST", "EMPTY_DICT"], 0),
    **{"EMPTY_SET": 0, "ADDITEMS": _TO_THE_MARK, "FROZENSET": _TO_THE_MARK},
    **{"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3, "TUPLE": _TO_THE_MARK},
    **{"APPEND": 1, "APPENDS": _TO_THE_MARK},
    **{"SETITEM": 2, "SETITEMS": _TO_THE_MARK},
    **{"GLOBAL": 0, "STACK_GLOBAL": 2, "REDUCE": 2, "BUILD": 1},
    **{"NEWOBJ": 2, "NEWOBJ_EX": 3, "POP": 0, "POP_MARK": _TO_THE_MARK},
    "BINPERSID": 1,
}


class _Machine:
    """Stack machine that runs a pickle, with marks and a memo."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.marked: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        self.storages: dict[str, _Storage] = {}

    def run(self, opcode: str, argument: Any) -> None:
        items = self._take(_OPCODES[opcode])
        match opcode:
            case "PROTO" | "FRAME" | "STOP" | "POP_MARK":
                pass
            case "POP":  # for an object that contains itself, like POP_MARK
                if self.stack:
                    self.stack.pop()
                else:
                    self.stack = self.marked.pop()
            case "MARK":
                self.marked.append(self.stack)
                self.stack = []
            case "EMPTY_LIST":
                self.stack.append([])
            case "EMPTY_DICT":
                self.stack.append({})
            case "EMPTY_SET" | "FROZENSET":
                self.stack.append(Placeholder("builtins.set"))
            case "EMPTY_TUPLE" | "TUPLE" | "TUPLE1" | "TUPLE2" | "TUPLE3":
                self.stack.append(tuple(items))
            case "APPEND" | "APPENDS":
                if isinstance(self._top(list, Placeholder), list):
                    self.stack[-1].extend(items)
            case "ADDITEMS":
                self._top(Placeholder)
            case "SETITEM" | "SETITEMS":
                pairs = zip(items[::2], items[1::2], strict=True)
                entries_of(self._top(dict, Placeholder)).update(_named(pairs))
            case "BINPUT" | "LONG_BINPUT":
                self.memo[argument] = self.stack[-1]
            case "MEMOIZE":
                self.memo[len(self.memo)] = self.stack[-1]
            case "BINGET" | "LONG_BINGET":
                self.stack.append(self.memo[argument])
            case "GLOBAL":
                self.stack.append(_find(*argument.split(" ", 1)))
            case "STACK_GLOBAL":
                self.stack.append(_find(*map(_text, items)))
            case "REDUCE" | "NEWOBJ" | "NEWOBJ_EX":
                self.stack.append(_call(*items[:2]))
            case "BUILD":  # such as an OrderedDict's `_metadata`
                self._top(dict, Placeholder)
            case "BINPERSID":
                self.stack.append(self._storage(*items))
            case _:
                literals = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
                self.stack.append(literals.get(opcode, argument))

    def _take(self, count: int) -> list[Any]:
        if count == _TO_THE_MARK:
            items, self.stack = self.stack, self.marked.pop()
            return items
        return [self.stack.pop() for _ in range(count)][::-1]

    def _top(self, *types: type) -> Any:
        if type(self.stack[-1]) not in types:
            kind = type(self.stack[-1]).__name__
            raise pickle.UnpicklingError(f"items or attributes set of a {kind}")
        return self.stack[-1]

    def _storage(self, pid: Any) -> _Storage | Name:
        match pid:
            case ("module", Name() as name, *_):  # with its source, in legacy
                return name
            case ("storage", _DType(dtype), str(key), _, int(count), *rest) if (
                count >= 0 and rest in ([], [None])
            ):
                storage = _Storage(key, dtype, count)
                if self.storages.setdefault(key, storage) == storage:
                    return storage
        raise pickle.UnpicklingError("a storage of an unknown kind")


def entries_of(value: dict[str, Any] | Placeholder) -> dict[str, Any]:
    """Return the items of a dict, or of a placeholder of one."""
    if isinstance(value, dict):
        return value
    if value.entries is None:
        value.entries = {}
    return value.entries


def _find(module: str, name: str) -> Any:
    full = f"{module}.{name}"
    if _PROGRAMS.match(full) or _REACHED.search(name):
        raise CheckpointError(
            f"asks for the Python object {full!r}, which weights do not need "
            "and which could run code in other programs (nothing was run "
            "here); do not trust it"
        )
    return _KNOWN.get(full) or Name(full)


def _call(function: Any, arguments: Any) -> Any:
    if isinstance(function, Name):
        return Placeholder(function.name)
    if not isinstance(function, _Function):
        raise TypeError(f"{type(function).__name__} is not callable")
    if len(arguments) > _MAX_ARGUMENTS:
        raise TypeError(f"a call with {len(arguments)} arguments")
    return function.function(*arguments)


def unpickle(stream: Any) -> tuple[Any, dict[str, _Storage]]:
    """Run the pickle at the stream's position, which moves behind it."""
    machine = _Machine()
    for i, (opcode, argument, _) in enumerate(pickletools.genops(stream)):
        if opcode.name not in _OPCODES:
            raise CheckpointError(
                f"is a pickle with the opcode {opcode.name}, which weights do "
                "not need; save the model's state dict alone, with the "
                "defaults of torch.save"
            )
        if i == _MAX_STEPS:
            raise CheckpointError(
                f"is a pickle of more than {i} steps, which weights do not "
                "need; save the model's state dict alone"
            )
        # A pickle numbers its memo entries in order.
        if "PUT" in opcode.name and (argument or 0) > i:
            raise pickle.UnpicklingError(f"a memo of {argument} entries")
        machine.run(opcode.name, argument)
    (checkpoint,) = machine.stack
    return checkpoint, machine.storages
