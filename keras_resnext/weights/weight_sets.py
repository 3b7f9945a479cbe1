"""The sets of weights in a training checkpoint, and the choice of one.

A training checkpoint is a dict of dicts: a state dict, perhaps a second one of
averaged weights, an optimizer's state, settings. A set is named by its keys,
`"state_dict_ema"` or `"state/model"`.
"""

import re
from collections.abc import Mapping
from typing import Any

from keras_resnext.weights.files import CheckpointError
from keras_resnext.weights.files import listed
from keras_resnext.weights.files import shown
from keras_resnext.weights.pickles import Name
from keras_resnext.weights.pickles import PickledTensor
from keras_resnext.weights.pickles import Placeholder

# The order of timm's own loader, with the averaged weights first. mmengine
# and Lightning put the averaged weights into "state_dict".
_ORDER = ("state_dict_ema", "model_ema", "state_dict", "model")
_AVERAGED = re.compile(r"(.*[_.])?(ema|swa|avg|averaged?)([_.].*)?")
_OPTIMIZER = re.compile(r".*optim.*|opt", re.IGNORECASE)
_MAX_DEPTH = 3
_MAX_NAMED = 8
_MAX_KEY = 100

Sets = dict[str, Mapping[str, Any]]


def find_sets(checkpoint: Any) -> Sets:
    """Find the sets of weights in a checkpoint.

    Args:
        checkpoint: Object that `unpickle` returned.

    Returns:
        Dicts with tensors by the keys that lead to them, joined by `/`; `""`
        is the checkpoint itself. If one contains kernels of convolutions, dicts
        without are left out: a table of metrics is not a model.
    """
    found: Sets = {}
    seen: set[int] = set()
    level = [("", checkpoint)]
    for _ in range(_MAX_DEPTH + 1):
        below = []
        for path, node in level:
            entries = _entries(node)
            if entries is None or id(entries) in seen:
                continue
            seen.add(id(entries))
            if any(isinstance(v, PickledTensor) for v in entries.values()):
                found[path] = entries
            below += [
                (f"{path}/{key}" if path else key, value)
                for key, value in entries.items()
                if len(key) <= _MAX_KEY
                and not _OPTIMIZER.fullmatch(key)
                and isinstance(value, (dict, Placeholder))
            ]
        level = below
    for rank in (4, 2):
        chosen = {
            path: entries
            for path, entries in found.items()
            if any(
                isinstance(value, PickledTensor) and len(value.shape) >= rank
                for value in entries.values()
            )
        }
        if chosen:
            return chosen
    return found


def choose(checkpoint: Any, wanted: str | None) -> tuple[str, str, Sets]:
    """Choose one set of weights.

    Args:
        checkpoint: Object that `unpickle` returned.
        wanted: Keys of the set, joined by `/`, optionally followed by the
            prefix of a model's names within the set. `None` takes timm's
            choice: `"state_dict_ema"`, `"model_ema"`, `"state_dict"`,
            `"model"`; else the only averaged one, or the only one.

    Returns:
        The name of the set, the prefix, and all sets.

    Raises:
        CheckpointError: If there is no set, or several without a clear
            choice.
    """
    sets = find_sets(checkpoint)
    if not sets:
        raise CheckpointError(_without_weights(checkpoint))
    if wanted is not None:
        named = [s for s in sets if s and f"{wanted}/".startswith(f"{s}/")]
        if named:
            name = max(named, key=len)
            return name, wanted.removeprefix(name).lstrip("/"), sets
    return _default(checkpoint, sets), wanted or "", sets


def _default(checkpoint: Any, sets: Sets) -> str:
    named = listed(map(_quoted, filter(None, sets)), _MAX_NAMED)
    entries = _entries(checkpoint) or {}
    for key in _ORDER:
        value = entries.get(key)
        if isinstance(value, Placeholder) and value.entries is None:
            raise CheckpointError(
                f"keeps {_kind(value)} in {key!r}; choose another set of "
                f"weights with weight_set: {named}"
            )
        found = [key] if key in sets else [s for s in sets if _last(s) == key]
        if len(found) == 1:
            return found[0]
    if "" in sets:
        return ""
    averaged = [s for s in sets if _AVERAGED.fullmatch(_last(s))]
    if len(averaged) == 1 or len(sets) == 1:
        return (averaged or [*sets])[0]
    raise CheckpointError(
        f"contains several sets of weights; choose one with weight_set: {named}"
    )


def unread_tensor(value: Any) -> str | None:
    """Describe a tensor that can't be read, such as a sparse one."""
    if isinstance(value, Placeholder) and value.entries is None:
        for word, kind in _UNREAD.items():
            if word in value.name.lower():
                return kind
    return None


_UNREAD = {
    "sparse": "a sparse tensor (save its `to_dense()`)",
    "qtensor": "a quantized tensor (save its `dequantize()`)",
    "meta_tensor": "a tensor on the device 'meta', without numbers",
    "dtensor": "a DTensor (save its `full_tensor()`)",
    "shardedtensor": "a ShardedTensor, a part of a tensor",
    "wrapper_subclass": "a tensor of a class of its own",
    "nested": "a nested tensor",
    "numpy": "a NumPy array (save torch.from_numpy of it)",
    "tensor": "a tensor of a class of its own",
}


def _without_weights(checkpoint: Any) -> str:
    """Describe the contents of a checkpoint without a state dict."""
    entries = _entries(checkpoint)
    if entries is None or (isinstance(checkpoint, Placeholder) and not entries):
        return (
            f"contains no state dict but {_kind(checkpoint)}; open it where it "
            "was made and save the model's `state_dict()`"
        )
    if not entries:
        return "contains no weights: its state dict is empty"
    kinds = (f"{_quoted(key)} ({_kind(entries[key])})" for key in entries)
    return (
        f"contains no weights in its entries {listed(kinds, _MAX_NAMED)}; save "
        "the model's `state_dict()`"
    )


def _kind(value: Any) -> str:
    """Describe a value by its type."""
    match value:
        case Placeholder(entries=None, name=name):
            kind = unread_tensor(value)
            return kind or f"a pickled object of {_quoted(name)}"
        case dict() | Placeholder():
            return "a dict without tensors"
        case PickledTensor():
            return "a tensor"
        case Name(name):
            return f"the name {_quoted(name)}"
    return f"of type {type(value).__name__}"


def _entries(value: Any) -> dict[str, Any] | None:
    if isinstance(value, Placeholder):
        return value.entries
    return value if isinstance(value, dict) else None


def _quoted(name: str) -> str:
    return f"'{shown(name[:_MAX_KEY])}'"


def _last(path: str) -> str:
    return path.rpartition("/")[2]
