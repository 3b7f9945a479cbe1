"""Tells which variant a checkpoint belongs to, by names and sizes."""

import contextlib
from collections.abc import Iterator

from keras_resnext.config import ResNeXtConfig
from keras_resnext.variants import VARIANTS
from keras_resnext.weights.files import Tensors
from keras_resnext.weights.layouts import LAYOUTS
from keras_resnext.weights.layouts import Layout
from keras_resnext.weights.layouts import foreign_name

ATTENTION = "stage1_block1_attention"
# A variable that each kind of attention has and no other.
MARKERS = {
    "se": "expand_kernel",
    "eca": "kernel",
    "gc": "context_kernel",
    "bat": "row_conv/kernel",
}


def looks_like(tensors: Tensors, layout: str) -> list[str]:
    """Names the variants whose convolutions a checkpoint holds, and no other.

    Args:
        tensors: The checkpoint, name by name.
        layout: A key of `LAYOUTS`.

    Returns:
        Names of `VARIANTS`: several where variants differ in nothing that
        has weights, none if the checkpoint belongs to another network.
    """
    tensors = LAYOUTS[layout].prepared(tensors)
    fitting = [
        variant
        for variant, config in VARIANTS.items()
        if _fits(tensors, config, LAYOUTS[layout])
    ]
    # Only timm's older file, and Caffe before it, pooled to the right.
    legacy = {name for name in fitting if name.startswith("legacy_")}
    narrowed = legacy if layout == "timm_senet" else set(fitting) - legacy
    return [name for name in fitting if name in narrowed or not narrowed]


def _fits(tensors: Tensors, config: ResNeXtConfig, layout: Layout) -> bool:
    sizes = dict(_convolutions(config))
    pools = ["stage2_block1_shortcut_pool"] * (config.shortcut == "avg")
    names = layout.names_for([*sizes, *pools])

    def holds(layer: str, variable: str = "kernel") -> int | None:
        """The size of a variable's tensor, if the checkpoint has it."""
        name = foreign_name(names, layer)
        with contextlib.suppress(KeyError):  # no word, or no such tensor
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
    """The convolutions of a network and the sizes of their kernels."""
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
            if config.transform == "selective_kernel":
                yield f"{block.name}_path1_conv", grouped
            else:
                yield f"{block.name}_conv2", grouped
            yield f"{block.name}_conv3", block.width * block.filters
            channels = block.filters
        channels = config.out_channels[index - 1]
