"""The pickles in PyTorch's checkpoints, read without torch.

A pickle is a program. It runs here on a machine that knows the few opcodes
and names which tensors need, and that refuses the others. Python's own machine
can be led to call, import and set anything, and to overflow its stack.
"""

import pickle
import pickletools
import reprlib
from collections.abc import Callable
from collections.abc import Iterable
from typing import Any
from typing import NamedTuple

import ml_dtypes
import numpy as np

from keras_resnext.weights.files import CheckpointError

# Ten times what the largest network takes with its average and its optimizer.
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


class Tensor(NamedTuple):
    storage: _Storage
    dtype: np.dtype
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _DType(NamedTuple):
    dtype: np.dtype


class _Function(NamedTuple):
    function: Callable[..., Any]


class _Ignored:
    """Stands for what is no weight: a set, a NumPy scalar, a device."""

    def __init__(self, *args: Any) -> None:
        pass


def _ordered_dict(pairs: Any = ()) -> dict[str, Any]:
    items = _named(pairs)
    if pairs:
        pairs.clear()  # taken, not copied: memory is for what is in the file
    return items


def _named(pairs: Iterable[Any]) -> dict[str, Any]:
    """Leaves out other keys, which no weight has and which could be costly.

    A tuple of tuples of tuples overflows the stack to be hashed.
    """
    return {name: value for name, value in pairs if isinstance(name, str)}


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise pickle.UnpicklingError("a name that is no text")
    return value


def _tensor(
    storage: Any, offset: Any, shape: Any, strides: Any, *extras: Any
) -> Tensor:
    _requires_grad, _hooks, *metadata = extras or (False, None)
    if not isinstance(storage, _Storage) or any(metadata):
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
    return Tensor(storage, storage.dtype, offset, tuple(shape), tuple(strides))


def _tensor_v3(*args: Any) -> Tensor:
    """Rebuilds what has no storage class of its own, such as uint16."""
    *typed, dtype = args[:7]
    if not isinstance(dtype, _DType):
        raise pickle.UnpicklingError("a tensor without a dtype")
    return _tensor(*typed, *args[7:])._replace(dtype=dtype.dtype)


def _first(value: Any, *_: Any) -> Any:
    """Stands for what only says of which type a value is."""
    return value


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
_UNSIGNED = [np.dtype(np.uint16), np.dtype(np.uint32), np.dtype(np.uint64)]

# All that a state dict needs, with what a training checkpoint adds to one.
_ALLOWED: dict[str, Any] = {
    "collections.OrderedDict": _Function(_ordered_dict),
    "torch.Size": _Function(_first),
    "torch._utils._rebuild_tensor": _Function(_tensor),
    "torch._utils._rebuild_tensor_v2": _Function(_tensor),
    "torch._utils._rebuild_tensor_v3": _Function(_tensor_v3),
    "torch._utils._rebuild_parameter": _Function(_first),
    "torch.nn.parameter.Parameter": _Function(_first),
    "torch.storage.UntypedStorage": _DType(np.dtype(np.uint8)),
    **{
        f"{module}.{name}Storage": _DType(dtype)
        for module in ("torch", "torch.cuda")
        for name, dtype in _DTYPES.items()
    },
    **{
        f"torch.{dtype.name}": _DType(dtype)
        for dtype in [*_DTYPES.values(), *_UNSIGNED]
    },
    **dict.fromkeys(
        [
            "__builtin__.set",
            "_codecs.encode",
            "builtins.set",
            "collections.Counter",
            "numpy._core.multiarray.scalar",
            "numpy.core.multiarray.scalar",
            "numpy.dtype",
            "torch.device",
        ],
        _Function(_Ignored),
    ),
}


# The opcodes that a checkpoint needs, and how many values each takes off the
# stack. Of the others some run code, and most are older words for these.
_TO_THE_MARK = -1
_OPCODES = {
    **dict.fromkeys(["PROTO", "FRAME", "STOP", "MARK"], 0),
    **dict.fromkeys(["NONE", "NEWTRUE", "NEWFALSE"], 0),
    **dict.fromkeys(["BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"], 0),
    **dict.fromkeys(["BINUNICODE", "SHORT_BINUNICODE"], 0),
    **dict.fromkeys(["BINSTRING", "SHORT_BINSTRING"], 0),
    **dict.fromkeys(["BINBYTES", "SHORT_BINBYTES"], 0),
    **dict.fromkeys(["BINPUT", "LONG_BINPUT", "MEMOIZE"], 0),
    **dict.fromkeys(["BINGET", "LONG_BINGET"], 0),
    **dict.fromkeys(["EMPTY_TUPLE", "EMPTY_LIST", "EMPTY_DICT"], 0),
    **{"EMPTY_SET": 0, "ADDITEMS": _TO_THE_MARK},
    **{"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3, "TUPLE": _TO_THE_MARK},
    **{"APPEND": 1, "APPENDS": _TO_THE_MARK},
    **{"SETITEM": 2, "SETITEMS": _TO_THE_MARK},
    **{"GLOBAL": 0, "STACK_GLOBAL": 2, "REDUCE": 2, "BUILD": 1},
    "BINPERSID": 1,
}


class _Machine:
    """What a pickle runs on: a stack, what lies under its marks, a memo."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.marked: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        self.storages: dict[str, _Storage] = {}

    def run(self, opcode: str, argument: Any) -> None:
        items = self._take(_OPCODES[opcode])
        match opcode:
            case "PROTO" | "FRAME" | "STOP":
                pass
            case "MARK":
                self.marked.append(self.stack)
                self.stack = []
            case "EMPTY_LIST":
                self.stack.append([])
            case "EMPTY_DICT":
                self.stack.append({})
            case "EMPTY_SET":
                self.stack.append(_Ignored())
            case "EMPTY_TUPLE" | "TUPLE" | "TUPLE1" | "TUPLE2" | "TUPLE3":
                self.stack.append(tuple(items))
            case "APPEND" | "APPENDS":
                self._top(list).extend(items)
            case "ADDITEMS":
                self._top(_Ignored)
            case "SETITEM" | "SETITEMS":
                pairs = zip(items[::2], items[1::2], strict=True)
                self._top(dict).update(_named(pairs))
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
            case "REDUCE":
                self.stack.append(_call(*items))
            case "BUILD":  # such as an OrderedDict's `_metadata`
                self._top(dict, _Ignored)
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

    def _storage(self, pid: Any) -> _Storage:
        match pid:
            case ("storage", _DType(dtype), str(key), _, int(count)) | (
                "storage",
                _DType(dtype),
                str(key),
                _,
                int(count),
                None,
            ) if count >= 0:
                storage = _Storage(key, dtype, count)
                if self.storages.setdefault(key, storage) == storage:
                    return storage
        raise pickle.UnpicklingError("a storage of an unknown kind")


def _find(module: str, name: str) -> Any:
    if f"{module}.{name}" not in _ALLOWED:
        raise CheckpointError(
            f"asks for the Python object {f'{module}.{name}'!r}, which weights "
            "do not need and which could run code; use a checkpoint that "
            "holds a state dict only, from a source you trust"
        )
    return _ALLOWED[f"{module}.{name}"]


def _call(function: Any, arguments: Any) -> Any:
    if not isinstance(function, _Function):
        raise TypeError(f"{type(function).__name__} is not callable")
    if len(arguments) > _MAX_ARGUMENTS:
        raise TypeError(f"a call with {len(arguments)} arguments")
    return function.function(*arguments)


def unpickle(stream: Any) -> tuple[Any, dict[str, _Storage]]:
    """Runs the pickle at the stream's position, and leaves it behind it."""
    machine = _Machine()
    for i, (opcode, argument, _) in enumerate(pickletools.genops(stream)):
        if opcode.name not in _OPCODES:
            raise CheckpointError(
                f"is a pickle with the opcode {opcode.name}, which weights do "
                "not need; use a checkpoint that holds a state dict only, "
                "from a source you trust"
            )
        if i == _MAX_STEPS:
            raise CheckpointError(
                f"is a pickle of more than {i} steps, which weights do not "
                "need; use a checkpoint that holds a state dict only"
            )
        # A pickle numbers what it will need again as it comes.
        if "PUT" in opcode.name and (argument or 0) > i:
            raise pickle.UnpicklingError(f"a memo of {argument} entries")
        machine.run(opcode.name, argument)
    (checkpoint,) = machine.stack
    return checkpoint, machine.storages
