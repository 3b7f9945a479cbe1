"""Identification of a checkpoint: its layout, variants and classes."""

import contextlib
import itertools
import re
from collections.abc import Iterator
from collections.abc import Mapping
from typing import NamedTuple

from keras_resnext.config import ResNeXtConfig
from keras_resnext.variants import VARIANTS
from keras_resnext.weights.files import CheckpointError
from keras_resnext.weights.files import Tensor
from keras_resnext.weights.files import Tensors
from keras_resnext.weights.files import listed
from keras_resnext.weights.files import shown
from keras_resnext.weights.layouts import LAYOUTS
from keras_resnext.weights.layouts import Layout
from keras_resnext.weights.layouts import foreign_name

# Names of the layers of a model built here. A model may have others before
# `input_tensor`, which no checkpoint contains.
OUR_LAYERS = r"stem_.+|stage\d+_.+|predictions"
STEM = "stem_conv1"
FIRST = "stage1_block1_conv1"
HEAD = "predictions"
ATTENTION = "stage1_block1_attention"
# A variable that only this kind of attention has.
MARKERS = {
    "se": "expand_kernel",
    "eca": "kernel",
    "gc": "context_kernel",
    "bat": "row_conv/kernel",
}
# Tensors of a training module besides its model: class weights of the loss,
# counts of a metric.
_NO_LAYER = r"(\w+_)?(criterion|loss|metrics?|acc|accuracy)(_\w+)?\..*"


class FoundModel(NamedTuple):
    """Model in a checkpoint.

    Attributes:
        layout: A key of `LAYOUTS`.
        prefix: Prefix of its names in the file, `"model."` or `""`.
        tensors: Its tensors by their names without the prefix.
    """

    layout: str
    prefix: str
    tensors: dict[str, Tensor]


def detect_layout(tensors: Tensors) -> str:
    """Return the layout of a checkpoint by the names of two convolutions.

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
        "The checkpoint's names match no known layout "
        f"({', '.join(LAYOUTS)}). It contains {listed(sorted(tensors), 4)}."
    )


def find_model(tensors: dict[str, Tensor], prefix: str = "") -> FoundModel:
    """Find a model in a checkpoint, which may be a part of a module.

    Args:
        tensors: The checkpoint, name by name.
        prefix: Name of the part, without its final dot; `""` finds the only
            model.

    Returns:
        The model.

    Raises:
        CheckpointError: If the model is unknown, or there are several models,
            or other weights beside one.
    """
    if prefix:
        part = _part(tensors, f"{prefix}.")
        if not part:
            raise CheckpointError(
                f"The checkpoint contains no weights named '{shown(prefix)}'. "
                f"It contains {listed(sorted(tensors), 4)}."
            )
        return FoundModel(detect_layout(part), f"{prefix}.", part)
    prefixes = _prefixes(tensors)
    if len(prefixes) > 1:
        named = ", ".join(f"'{shown(p[:-1])}'" for p in prefixes)
        raise CheckpointError(
            f"The checkpoint contains several models. Choose one with "
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
            f"The checkpoint contains other weights beside the model "
            f"'{shown(found[:-1])}': {listed(sorted(beside), 4)}. To load the "
            f"model alone, choose it with weight_set: '{shown(found[:-1])}'."
        )
    part = _part(tensors, found) if found else tensors
    return FoundModel(detect_layout(part), found, part)


def _part(tensors: Tensors, prefix: str) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }


def _prefixes(tensors: Tensors) -> list[str]:
    """List the prefixes of models, none within another.

    If names can be read in two ways, `""` in mmpretrain's layout or
    `"backbone."` in timm's, the one with a classifier is chosen.
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
    """Return the number of classes; None without a classifier."""
    table = LAYOUTS[layout]
    suffix, _ = table.variable(HEAD, "bias")
    for name in table.names[HEAD].split("|"):
        bias = tensors.get(f"{name}{table.separator}{suffix}")
        if bias is not None:
            return bias.size
    return None


def _kernel(layer: str, names: Mapping[str, str], layout: Layout) -> str:
    """Return the name of a layer's kernel in a table of names."""
    suffix, _ = layout.variable(layer, "kernel")
    return f"{foreign_name(names, layer)}{layout.separator}{suffix}"


def looks_like(tensors: Tensors, layout: str) -> list[str]:
    """Return the variants whose convolutions match a checkpoint's exactly.

    Args:
        tensors: The checkpoint, name by name.
        layout: A key of `LAYOUTS`.

    Returns:
        Names of `VARIANTS`: several if the weights of variants don't differ,
        none if the checkpoint belongs to another model.
    """
    tensors = LAYOUTS[layout].prepared(tensors)
    fitting = [
        variant
        for variant, config in VARIANTS.items()
        if _fits(tensors, config, LAYOUTS[layout])
    ]
    # Weights don't show the legacy pooling; only timm's senet.py has it.
    legacy = {name for name in fitting if name.startswith("legacy_")}
    narrowed = legacy if layout == "timm_senet" else set(fitting) - legacy
    return [name for name in fitting if name in narrowed or not narrowed]


def _fits(tensors: Tensors, config: ResNeXtConfig, layout: Layout) -> bool:
    sizes = dict(_convolutions(config))
    pools = ["stage2_block1_shortcut_pool"] * (config.shortcut == "avg")
    names = layout.names_for([*sizes, *pools])

    def holds(layer: str, variable: str = "kernel") -> int | None:
        """Return the size of a variable's tensor, if the checkpoint has it."""
        name = foreign_name(names, layer)
        with contextlib.suppress(KeyError):  # no such name or tensor
            suffix, _ = layout.variable(layer, variable)
            return tensors[f"{name}{layout.separator}{suffix}"].size
        return None

    depths = enumerate(config.depths, start=1)
    beyond = [f"stage{i}_block{depth + 1}_conv1" for i, depth in depths]
    kind = config.attention and config.attention.kind
    return (
        all(holds(layer) == size for layer, size in sizes.items())
        and not any(holds(layer) for layer in beyond)
        and all(
            (key == kind) == (holds(ATTENTION, marker) is not None)
            for key, marker in MARKERS.items()
        )
    )


def _convolutions(config: ResNeXtConfig) -> Iterator[tuple[str, int]]:
    """Yield the convolutions of a model and the sizes of their kernels."""
    channels, area = 3, config.stem.kernel_size**2
    for i, width in enumerate(config.stem.widths, start=1):
        yield f"stem_conv{i}", area * channels * width
        channels = width
    for index in range(1, len(config.depths) + 1):
        if config.stage == "cross_stage":
            yield (
                f"stage{index}_expand_conv",
                channels * config.out_channels[index - 1],
            )
            channels = config.out_channels[index - 1] // 2
        for block in config.blocks(index):
            yield f"{block.name}_conv1", channels * block.width
            grouped = 9 * block.width * (block.width // block.groups)
            if config.conv == "selective_kernel":
                yield f"{block.name}_path1_conv", grouped
            else:
                yield f"{block.name}_conv2", grouped
            yield f"{block.name}_conv3", block.width * block.filters
            channels = block.filters
        channels = config.out_channels[index - 1]
