"""The `.h5` files of qubvel's classification_models, converted to our names.

https://github.com/qubvel/classification_models has one convolution for each
path of a block, and a counter in most layer names. Layers are therefore
distinguished by their order in the file, which is that of Keras'
`model.layers`, and by their shapes.
"""

import itertools
import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from keras_resnext import imagenet
from keras_resnext.weights.files import Tensors
from keras_resnext.weights.records import IMAGENET_MEAN
from keras_resnext.weights.records import IMAGENET_STD

Layer = dict[str, Any]

# A letter for each layer: "i" normalizes the input and has no scale, "s" is
# the stem, "c" 1x1, "G" a grouped 3x3, "n" normalizes, "e" excites, "d" dense.
# A shortcut's place depends on its depth, counted from the output.
_BLOCKS = {
    "cnGnccnn": "conv1 bn1 conv2 bn2 conv3 sc bn3 sc_bn",
    "cnGncneecn": "conv1 bn1 conv2 bn2 conv3 bn3 se/1 se/2 sc sc_bn",
    "cnGncnee": "conv1 bn1 conv2 bn2 conv3 bn3 se/1 se/2",
    "cnGncn": "conv1 bn1 conv2 bn2 conv3 bn3",
}
# A 1x1 before a "G" is not a block's shortcut but the next block's first.
_BLOCK = rf"(?:{'|'.join(_BLOCKS)})(?!G)"

_EPSILON = 2e-5  # of ResNeXt's batch normalization
_OUR_EPSILON = 1e-5


def prepare(tensors: Tensors) -> Tensors:
    """Name the tensors of a file by their place in the model.

    ResNeXt-50 and 101 come from MXNet's model zoo. They take raw pixels and
    normalize them by learned statistics, which are folded into the stem, for
    pixels that `preprocess_input` normalized. This is exact except at the
    image's border, which they pad after normalization, the stem before it.
    Their 1,000 classes are numbered as in the ImageNet challenge, and are
    reordered to the usual order.

    Args:
        tensors: A file's tensors, in its order.

    Returns:
        The tensors as `conv0/kernel`, `stage1_unit1_conv1/kernel`...; those
        of other files are unchanged.
    """
    layers = list(_layers(tensors))
    kinds = "".join(letter for letter, _ in layers)
    if not re.fullmatch(f"i?sn(?:{_BLOCK})+d?", kinds):
        return tensors
    arrays = [
        {name: np.asarray(tensor) for name, tensor in layer.items()}
        for _, layer in layers
    ]
    named = dict(zip(_names(kinds), arrays, strict=True))
    if "bn_data" in named:
        _take_our_pixels(named)
        _take_our_epsilon(named)
        _take_our_classes(named)
    return {
        f"{name}/{variable}": tensor
        for name, layer in named.items()
        for variable, tensor in layer.items()
    }


def _layers(tensors: Tensors) -> Iterator[tuple[str, Layer]]:
    """Yield each layer and its letter; a block's paths become one layer."""
    by_layer = itertools.groupby(tensors, lambda name: name.rpartition("/")[0])
    layers = [
        {name.rpartition("/")[2]: tensors[name] for name in names}
        for _, names in by_layer
    ]
    for letter, run in itertools.groupby(layers, _letter):
        paths = list(run)
        if letter == "g" and len(paths) > 1:
            kernels = [path["kernel"] for path in paths]
            yield "G", {"kernel": np.concatenate(kernels, axis=-1)}
        else:
            yield from ((letter, layer) for layer in paths)


def _letter(layer: Layer) -> str:
    if any(tensor.dtype.kind != "f" for tensor in layer.values()):
        return "?"
    match sorted(layer), np.shape(layer.get("kernel", ())):
        case ["beta", "gamma", "moving_mean", "moving_variance"], _:
            return "n"
        case ["beta", "moving_mean", "moving_variance"], _:
            return "i"
        case ["bias", "kernel"], (_, _):
            return "d"
        case ["bias", "kernel"], (1, 1, _, _):
            return "e"
        case ["kernel"], (rows, columns, _, _) if rows == columns:
            return {1: "c", 3: "g", 7: "s"}.get(rows, "?")
    return "?"


def _names(kinds: str) -> Iterator[str]:
    if kinds.startswith("i"):
        yield "bn_data"
    yield from ("conv0", "bn0")
    stage = unit = 0
    for block in re.findall(_BLOCK, kinds):
        roles = _BLOCKS[block].split()
        if "sc" in roles:
            stage, unit = stage + 1, 0
        unit += 1
        yield from (f"stage{stage}_unit{unit}_{role}" for role in roles)
    if kinds.endswith("d"):
        yield "fc1"


def _take_our_pixels(named: dict[str, Layer]) -> None:
    learned = named.pop("bn_data")
    variance = learned["moving_variance"].astype("float64")
    with np.errstate(invalid="ignore"):  # NaN, refused with the others later
        deviation = np.sqrt(variance + _EPSILON)
    # Their normalized pixels are `scale * ours + offset`.
    scale = 255 * np.array(IMAGENET_STD) / deviation
    offset = 255 * np.array(IMAGENET_MEAN) - learned["moving_mean"]
    offset = offset / deviation + learned["beta"]
    stem, bn = named["conv0"], named["bn0"]
    shift = np.einsum("hwio,i->o", stem["kernel"], offset)
    stem["kernel"] = (stem["kernel"] * scale[:, None]).astype("float32")
    bn["moving_mean"] = (bn["moving_mean"] - shift).astype("float32")


def _take_our_epsilon(named: dict[str, Layer]) -> None:
    for layer in named.values():
        if "moving_variance" in layer:
            variance = layer["moving_variance"].astype("float64")
            variance += _EPSILON - _OUR_EPSILON
            layer["moving_variance"] = variance.astype("float32")


def _take_our_classes(named: dict[str, Layer]) -> None:
    order = [each.challenge - 1 for each in imagenet.classes()]
    head = named.get("fc1", {})
    for variable, tensor in head.items():
        if tensor.shape[-1] == len(order):
            head[variable] = tensor[..., order]
