"""Applies a layout: foreign tensors to the variables of a model, and back."""

import contextlib
import itertools
import re
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from keras_resnext.weights.files import Tensors
from keras_resnext.weights.files import shown
from keras_resnext.weights.identify import looks_like
from keras_resnext.weights.layouts import LAYOUTS
from keras_resnext.weights.layouts import Layout
from keras_resnext.weights.layouts import foreign_name
from keras_resnext.weights.readers import CheckpointError
from keras_resnext.weights.transforms import Shape
from keras_resnext.weights.transforms import Transform
from keras_resnext.weights.values import check_dtype
from keras_resnext.weights.values import check_values

# Names that a model built here gives its layers. A model may hold others too,
# before `input_tensor`; no checkpoint knows them.
OUR_LAYERS = r"stem_.+|stage\d+_.+|predictions"
STEM = "stem_conv1"
FIRST = "stage1_block1_conv1"
HEAD = "predictions"
# What a training module holds beside its network: weights of classes in the
# loss, counts of a metric.
_NO_LAYER = r"(\w+_)?(criterion|loss|metrics?|acc|accuracy)(_\w+)?\..*"

Variable = tuple[str, str]
Shapes = Mapping[Variable, Shape]


class _MismatchError(CheckpointError):
    """A checkpoint of another network."""


@dataclass(frozen=True)
class Network:
    """A network in a checkpoint.

    Attributes:
        layout: A key of `LAYOUTS`.
        prefix: What its names begin with in the file, `"model."` or `""`.
        tensors: Its tensors by their names without the prefix.
    """

    layout: str
    prefix: str
    tensors: Tensors


@dataclass(frozen=True)
class _Place:
    """Where one variable of ours lies in a foreign checkpoint."""

    name: str
    transform: Transform


def to_keras(
    tensors: Tensors, shapes: Shapes, layers: Iterable[str], layout: str
) -> Iterator[tuple[Variable, np.ndarray]]:
    """Turn a checkpoint into values for every variable of a model.

    Every value is made once and checked before this returns, and made again
    when the iterator gets to it, so that one at a time is in memory.

    Args:
        tensors: The checkpoint, name by name.
        shapes: The shape of each variable, by `(layer name, variable name)`.
        layers: The names of all the model's layers, those without variables
            too.
        layout: A key of `LAYOUTS`.

    Returns:
        An iterator over a finite float32 array for each variable of `shapes`.

    Raises:
        CheckpointError: If the checkpoint lacks a tensor that the model
            needs, or holds one that it doesn't, of another shape, quantized,
            or not finite.
    """
    table = LAYOUTS[layout]
    prepared = table.prepared(tensors)
    try:
        places = _match(prepared, shapes, layers, table)
        for _ in _values(prepared, shapes, places):
            pass
    except _MismatchError as error:
        likely = looks_like(tensors, layout)
        hint = f" It looks like {' or '.join(likely)}." if likely else ""
        raise CheckpointError(f"{error}{hint}") from None
    return _values(prepared, shapes, places)


def _match(
    tensors: Tensors, shapes: Shapes, layers: Iterable[str], layout: Layout
) -> dict[Variable, _Place]:
    places = _places(shapes, layers, layout, tensors)
    wanted = {place.name for place in places.values()}
    known = {
        name
        for name in tensors
        if not re.fullmatch(layout.ignored, name)
        and not _is_spare_head(name, shapes, layout)
    }
    if wanted != known:
        raise _MismatchError(_difference(wanted - known, known - wanted))
    return places


def _values(
    tensors: Tensors, shapes: Shapes, places: Mapping[Variable, _Place]
) -> Iterator[tuple[Variable, np.ndarray]]:
    for variable, place in places.items():
        tensor = np.asarray(tensors[place.name])
        yield variable, _fit(place, tensor, variable, shapes[variable])


def from_keras(
    values: Mapping[Variable, np.ndarray], layers: Iterable[str], layout: str
) -> dict[str, np.ndarray]:
    """Turns the variables of a model into a checkpoint of a layout.

    Args:
        values: Each variable, by `(layer name, variable name)`.
        layers: The names of all the model's layers.
        layout: A key of `LAYOUTS`.

    Returns:
        The checkpoint, name by name.
    """
    shapes = {variable: value.shape for variable, value in values.items()}
    places = _places(shapes, layers, LAYOUTS[layout], {})
    return {
        place.name: np.ascontiguousarray(
            place.transform.from_keras(values[variable])
        )
        for variable, place in places.items()
    }


def detect_layout(tensors: Tensors) -> str:
    """Tells the layout of a checkpoint by the names of two convolutions.

    Args:
        tensors: The checkpoint, name by name.

    Returns:
        A key of `LAYOUTS`.

    Raises:
        CheckpointError: If no layout has such names.
    """
    for name, layout in LAYOUTS.items():
        prepared = layout.prepared(tensors)
        tables = (layout.names, *layout.special.values())
        if all(
            any(_kernel(layer, table, layout) in prepared for table in tables)
            for layer in (STEM, FIRST)
        ):
            return name
    raise CheckpointError(
        "The checkpoint's names are those of no known layout "
        f"({', '.join(LAYOUTS)}). It holds {_some(set(tensors), limit=4)}."
    )


def find_network(tensors: Tensors, prefix: str = "") -> Network:
    """Find a network in a checkpoint, where it may be a part of a module.

    Args:
        tensors: The checkpoint, name by name.
        prefix: Name of the part, without its final dot; `""` finds the only
            network.

    Returns:
        The network.

    Raises:
        CheckpointError: If there is no network that is known, several, or one
            beside other weights.
    """
    if prefix:
        part = _part(tensors, f"{prefix}.")
        if not part:
            raise CheckpointError(
                f"The checkpoint holds no weights named '{shown(prefix)}'. It "
                f"holds {_some(set(tensors), limit=4)}."
            )
        return Network(detect_layout(part), f"{prefix}.", part)
    prefixes = _prefixes(tensors)
    if len(prefixes) > 1:
        named = ", ".join(f"'{shown(p[:-1])}'" for p in prefixes)
        raise CheckpointError(
            f"The checkpoint holds several networks. Choose one with "
            f"weight_set: {named}."
        )
    (found,) = prefixes or [""]
    beside = {
        name
        for name, tensor in tensors.items()
        if not name.startswith(found)
        and tensor.size > 1
        and not re.fullmatch(_NO_LAYER, name)
    }
    if beside:
        raise CheckpointError(
            f"The checkpoint holds other weights beside the network "
            f"'{shown(found[:-1])}': {_some(beside, limit=4)}. To load the "
            f"network alone, choose it with weight_set: '{shown(found[:-1])}'."
        )
    part = _part(tensors, found) if found else tensors
    return Network(detect_layout(part), found, part)


def _part(tensors: Tensors, prefix: str) -> Tensors:
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }


def _prefixes(tensors: Tensors) -> list[str]:
    """List what comes before the names of networks, none within another.

    Of two readings of the same names, `""` and mmpretrain's layout or
    `"backbone."` and timm's, the one with a classifier counts.
    """
    found: dict[str, bool] = {}
    for layout in LAYOUTS.values():
        if layout.separator != ".":
            continue
        stems, firsts, heads = (
            {
                _kernel(layer, names, layout)
                for names in (layout.names, *layout.special.values())
                if foreign_name(names, layer)
            }
            for layer in (STEM, FIRST, HEAD)
        )
        for name, stem in itertools.product(tensors, stems):
            prefix = name.removesuffix(stem)
            if (
                prefix != name
                and prefix[-1:] in ("", ".")
                and any(f"{prefix}{first}" in tensors for first in firsts)
            ):
                headed = any(f"{prefix}{head}" in tensors for head in heads)
                found[prefix] = found.get(prefix, False) or headed
    prefixes: list[str] = []
    for prefix in sorted(found):
        outer = [p for p in prefixes if prefix.startswith(p)]
        if outer and (found[outer[0]] or not found[prefix]):
            continue
        prefixes = [p for p in prefixes if p not in outer] + [prefix]
    return prefixes


def num_classes(tensors: Tensors, layout: str) -> int | None:
    """How many classes a checkpoint tells apart; None without a classifier."""
    table = LAYOUTS[layout]
    suffix, _ = table.variable(HEAD, "bias")
    for name in table.names[HEAD].split("|"):
        bias = tensors.get(f"{name}{table.separator}{suffix}")
        if bias is not None:
            return bias.size
    return None


def _kernel(layer: str, names: Mapping[str, str], layout: Layout) -> str:
    """What a table of names calls a layer's kernel."""
    suffix, _ = layout.variable(layer, "kernel")
    return f"{foreign_name(names, layer)}{layout.separator}{suffix}"


def _places(
    shapes: Shapes, layers: Iterable[str], layout: Layout, tensors: Tensors
) -> dict[Variable, _Place]:
    names = layout.names_for(list(layers))
    places = {}
    for layer, variable in shapes:
        if not re.fullmatch(OUR_LAYERS, layer):
            continue
        alternatives = foreign_name(names, layer)
        if alternatives is None:
            raise _MismatchError(
                f"Checkpoints of this layout have no word for '{layer}'. They "
                "fit another architecture."
            )
        suffix, transform = layout.variable(layer, variable)
        candidates = [
            f"{name}{layout.separator}{suffix}"
            for name in alternatives.split("|")
        ]
        present = [name for name in candidates if name in tensors]
        places[layer, variable] = _Place([*present, *candidates][0], transform)
    return places


def _is_spare_head(name: str, shapes: Shapes, layout: Layout) -> bool:
    """Whether a tensor belongs to a classifier that the model left out."""
    if any(layer == HEAD for layer, _ in shapes):
        return False
    head, _, suffix = name.rpartition(layout.separator)
    suffixes = [layout.variable(HEAD, v)[0] for v in ("kernel", "bias")]
    return head in layout.names[HEAD].split("|") and suffix in suffixes


def _fit(
    place: _Place, tensor: np.ndarray, variable: Variable, shape: Shape
) -> np.ndarray:
    layer, name = variable
    of = f"{name} of '{layer}'"
    source = f"the checkpoint's '{place.name}'"
    check_dtype(tensor.dtype, of, source)
    # A float64 too large becomes infinite, which is refused below.
    with np.errstate(over="ignore", invalid="ignore"):
        value = tensor.astype("float32", copy=False)
        with contextlib.suppress(ValueError):  # if it has other axes altogether
            value = place.transform.to_keras(value, shape)
        if layer == STEM and value.shape != shape:
            value = _adapt_channels(value, shape)
    if value.shape == shape:
        check_values(value, of, source)
        return value
    if layer == HEAD and value.shape[:-1] == shape[:-1]:
        raise CheckpointError(
            f"The checkpoint tells {value.shape[-1]} classes apart and the "
            f"model {shape[-1]}. Build the model with classes="
            f"{value.shape[-1]} and give it another head with "
            "keras_resnext.finetuning.replace_classifier, or use "
            "include_top=False."
        )
    raise _MismatchError(
        f"'{layer}' needs a {name} of shape {shape}, but the checkpoint's is "
        f"{value.shape}. It fits another architecture."
    )


def _adapt_channels(kernel: np.ndarray, shape: Shape) -> np.ndarray:
    """Fits a stem for RGB to other channels, as timm does.

    Grey sums the three; more repeat them, scaled so that an input of equal
    channels excites the next layer as before.
    """
    channels = shape[2]
    if kernel.ndim != 4 or kernel.shape[2] != 3:
        return kernel
    if channels == 1:
        return kernel.sum(axis=2, keepdims=True)
    repeated = np.tile(kernel, (1, 1, -(-channels // 3), 1))
    return repeated[:, :, :channels] * np.asarray(3 / channels, kernel.dtype)


def _difference(missing: set[str], unused: set[str]) -> str:
    return (
        "The checkpoint and the model don't match. Missing from the "
        f"checkpoint: {_some(missing)}. Unknown to the model: {_some(unused)}."
    )


def _some(names: set[str], limit: int = 12) -> str:
    listed = ", ".join(map(shown, sorted(names)[:limit])) or "nothing"
    more = len(names) - limit
    return f"{listed} and {more} more" if more > 0 else listed
