"""Conversion between foreign tensors and the variables of a model."""

import contextlib
import re
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from keras_resnext.weights.files import Tensors
from keras_resnext.weights.files import listed
from keras_resnext.weights.identify import HEAD
from keras_resnext.weights.identify import OUR_LAYERS
from keras_resnext.weights.identify import STEM
from keras_resnext.weights.layouts import LAYOUTS
from keras_resnext.weights.layouts import Layout
from keras_resnext.weights.layouts import foreign_name
from keras_resnext.weights.readers import CheckpointError
from keras_resnext.weights.transforms import Shape
from keras_resnext.weights.transforms import Transform
from keras_resnext.weights.values import check_dtype
from keras_resnext.weights.values import check_values

Variable = tuple[str, str]
Shapes = Mapping[Variable, Shape]


class MismatchError(CheckpointError):
    """A checkpoint is of another model."""


@dataclass(frozen=True)
class _Place:
    """Place of a model's variable in a foreign checkpoint."""

    name: str
    transform: Transform


def to_keras(
    tensors: Tensors, shapes: Shapes, layers: Iterable[str], layout: str
) -> Iterator[tuple[Variable, np.ndarray]]:
    """Convert a checkpoint to values for every variable of a model.

    Every value is computed and checked before this returns, and computed again
    by the iterator, so that only one at a time is in memory.

    Args:
        tensors: The checkpoint, name by name.
        shapes: The shape of each variable, by `(layer name, variable name)`.
        layers: Names of all layers of the model, including those without
            variables.
        layout: A key of `LAYOUTS`.

    Returns:
        An iterator over a finite float32 array for each variable of `shapes`.

    Raises:
        MismatchError: If the checkpoint lacks a tensor that the model needs,
            or contains an unknown one or one of another shape.
        CheckpointError: If a tensor is quantized or not finite.
    """
    table = LAYOUTS[layout]
    prepared = table.prepared(tensors)
    places = _places(shapes, layers, table, prepared)
    wanted = {place.name for place in places.values()}
    known = {
        name
        for name in prepared
        if not re.fullmatch(table.ignored, name)
        and not _is_spare_head(name, shapes, table)
    }
    if wanted != known:
        raise MismatchError(
            "The checkpoint and the model don't match. Missing from the "
            f"checkpoint: {listed(sorted(wanted - known), 12)}. Unknown to the "
            f"model: {listed(sorted(known - wanted), 12)}."
        )
    for _ in _values(prepared, shapes, places):
        pass
    return _values(prepared, shapes, places)


def _values(
    tensors: Tensors, shapes: Shapes, places: Mapping[Variable, _Place]
) -> Iterator[tuple[Variable, np.ndarray]]:
    for variable, place in places.items():
        tensor = np.asarray(tensors[place.name])
        yield variable, _fit(place, tensor, variable, shapes[variable])


def from_keras(
    values: Mapping[Variable, np.ndarray], layers: Iterable[str], layout: str
) -> dict[str, np.ndarray]:
    """Convert the variables of a model to a checkpoint of a layout.

    Args:
        values: Each variable, by `(layer name, variable name)`.
        layers: Names of all layers of the model.
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
            raise MismatchError(
                f"Checkpoints of this layout have no name for '{layer}'. They "
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
    """Return whether a tensor belongs to a classifier that the model lacks."""
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
        with contextlib.suppress(ValueError):  # if it has another rank
            value = place.transform.to_keras(value, shape)
        if layer == STEM and value.shape != shape:
            value = _adapt_channels(value, shape)
    if value.shape == shape:
        check_values(value, of, source)
        return value
    if layer == HEAD and value.shape[:-1] == shape[:-1]:
        raise CheckpointError(
            f"The checkpoint distinguishes {value.shape[-1]} classes and the "
            f"model {shape[-1]}. Build the model with classes="
            f"{value.shape[-1]} and give it another head with "
            "keras_resnext.finetuning.reset_classifier, or use "
            "include_top=False."
        )
    raise MismatchError(
        f"'{layer}' needs a {name} of shape {shape}, but the checkpoint's is "
        f"{value.shape}. It fits another architecture."
    )


def _adapt_channels(kernel: np.ndarray, shape: Shape) -> np.ndarray:
    """Fit a stem for RGB to other channels, as timm does.

    Gray sums the three kernels; more channels repeat them, scaled so that an
    input of equal channels gives the same output.
    """
    channels = shape[2]
    if kernel.ndim != 4 or kernel.shape[2] != 3:
        return kernel
    if channels == 1:
        return kernel.sum(axis=2, keepdims=True)
    repeated = np.tile(kernel, (1, 1, -(-channels // 3), 1))
    return repeated[:, :, :channels] * np.asarray(3 / channels, kernel.dtype)
