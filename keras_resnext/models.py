"""The public callables: the one place where networks and weights meet."""

import difflib
import fnmatch
import functools
from typing import Any

import keras

from keras_resnext import contract
from keras_resnext import resnext
from keras_resnext.blocks import Activation
from keras_resnext.kernels.generic import Tensor
from keras_resnext.variants import VARIANTS
from keras_resnext.variants import ResNeXtConfig
from keras_resnext.weights import load
from keras_resnext.weights.catalogue import Weights


def ResNeXt(
    config: ResNeXtConfig,
    include_top: bool = True,
    weights: load.Path | None = None,
    input_tensor: Tensor | None = None,
    input_shape: tuple[int | None, ...] | None = None,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: Activation = "softmax",
    name: str | None = None,
) -> keras.Model:
    """Builds the network of any configuration.

    Args:
        config: A `ResNeXtConfig`, such as a row of `VARIANTS` or
            `dataclasses.replace` of one.
        include_top: Whether to end in the classifier.
        weights: `None` or the path of a checkpoint; for a row of `VARIANTS`
            also `"imagenet"` or a tag.
        input_tensor: As for `ResNeXt50`, and so are the following.
        input_shape: Shape of one image.
        pooling: What follows the features without the top.
        classes: Number of classes of the classifier.
        classifier_activation: Activation of the classifier.
        name: Name of the model.

    Returns:
        A `keras.Model`, as from `ResNeXt50`.

    Raises:
        ValueError: If arguments contradict each other.

    Example:
    >>> config = keras_resnext.ResNeXtConfig(
    ...     depths=(3, 4, 6, 3), grouping=keras_resnext.Template(8, 14)
    ... )
    >>> keras_resnext.ResNeXt(config).count_params()
    """
    variant = {row: key for key, row in VARIANTS.items()}.get(config)
    source = load.resolve(weights, variant)
    if isinstance(source, Weights) and include_top:
        # Left at its default, the number of classes is the checkpoint's.
        classes = source.classes if classes == 1000 else classes
        load.check_head(source, classes, classifier_activation)
    model = resnext.build(
        config,
        include_top,
        input_tensor,
        input_shape,
        pooling,
        classes,
        classifier_activation,
        name or variant,
    )
    load.load(model, source)
    return model


def list_models(pattern: str = "*") -> list[str]:
    """Lists the names of the variants, sorted.

    Args:
        pattern: Shell-style pattern that names must match.

    Example:
    >>> keras_resnext.list_models("*_64x4d")
    ['resnext101_64x4d']
    """
    return sorted(fnmatch.filter(VARIANTS, pattern))


def get_model(name: str, **kwargs: Any) -> keras.Model:
    """Builds a variant by its name.

    Args:
        name: A name of `list_models()`, or `"variant.tag"` as timm writes it.
        **kwargs: Arguments of `ResNeXt50`.

    Raises:
        ValueError: If there is no such variant; the message lists them.

    Example:
    >>> keras_resnext.get_model("resnext50_32x4d.a1_in1k", include_top=False)
    """
    variant, _, tag = name.partition(".")
    if variant not in VARIANTS:
        near = difflib.get_close_matches(variant, VARIANTS, n=1)
        hint = f" Did you mean '{near[0]}'?" if near else ""
        raise ValueError(
            f"There is no variant {variant!r}.{hint} "
            f"There are: {', '.join(list_models())}"
        )
    kwargs.setdefault("weights", tag or "imagenet")
    return ResNeXt(VARIANTS[variant], **kwargs)


_callable = functools.partial(contract.named, ResNeXt)

ResNeXt50_32x4d = _callable("ResNeXt50_32x4d")
"""ResNeXt-50 of 32x4d, the paper's first."""
ResNeXt50d_32x4d = _callable("ResNeXt50d_32x4d")
"""ResNeXt-50 of 32x4d with a deep stem and average-pooled shortcuts."""
ResNeXt101_32x4d = _callable("ResNeXt101_32x4d")
"""ResNeXt-101 of 32x4d."""
ResNeXt101_32x8d = _callable("ResNeXt101_32x8d")
"""ResNeXt-101 of 32x8d, torchvision's."""
ResNeXt101_32x16d = _callable("ResNeXt101_32x16d")
"""ResNeXt-101 of 32x16d."""
ResNeXt101_32x32d = _callable("ResNeXt101_32x32d")
"""ResNeXt-101 of 32x32d."""
ResNeXt101_32x48d = _callable("ResNeXt101_32x48d")
"""ResNeXt-101 of 32x48d, 828 million parameters."""
ResNeXt101_64x4d = _callable("ResNeXt101_64x4d")
"""ResNeXt-101 of 64x4d, the paper's best."""
ResNeXt152_32x4d = _callable("ResNeXt152_32x4d")
"""ResNeXt-152 of 32x4d."""
SEResNeXt50_32x4d = _callable("SEResNeXt50_32x4d")
"""ResNeXt-50 of 32x4d with squeeze-and-excitation."""
SEResNeXt101_32x4d = _callable("SEResNeXt101_32x4d")
"""ResNeXt-101 of 32x4d with squeeze-and-excitation."""
SEResNeXt101_32x8d = _callable("SEResNeXt101_32x8d")
"""ResNeXt-101 of 32x8d with squeeze-and-excitation."""
SEResNeXt101_64x4d = _callable("SEResNeXt101_64x4d")
"""ResNeXt-101 of 64x4d with squeeze-and-excitation."""
SEResNeXt101d_32x8d = _callable("SEResNeXt101d_32x8d")
"""SE-ResNeXt-101 with a deep stem and average-pooled shortcuts."""
SEResNeXtAA101d_32x8d = _callable("SEResNeXtAA101d_32x8d")
"""SE-ResNeXt-101-D that averages before it strides."""
SEResNeXtAA201d_32x8d = _callable("SEResNeXtAA201d_32x8d")
"""SE-ResNeXt-201-D that averages before it strides."""
SEResNeXt26d_32x4d = _callable("SEResNeXt26d_32x4d")
"""SE-ResNeXt-26 with a deep stem and average-pooled shortcuts."""
SEResNeXt26t_32x4d = _callable("SEResNeXt26t_32x4d")
"""SE-ResNeXt-26 with a tiered stem and average-pooled shortcuts."""
ECAResNeXt26t_32x4d = _callable("ECAResNeXt26t_32x4d")
"""The same with efficient channel attention."""
ECAResNeXt50t_32x4d = _callable("ECAResNeXt50t_32x4d")
"""ECA-ResNeXt-50 with a tiered stem, average-pooled shortcuts."""
ResNeXt26TS = _callable("ResNeXt26TS")
"""ResNeXt-26 of groups of 32 channels, SiLU and a tiered stem."""
SEResNeXt26TS = _callable("SEResNeXt26TS")
"""ResNeXt26TS with squeeze-and-excitation."""
ECAResNeXt26TS = _callable("ECAResNeXt26TS")
"""ResNeXt26TS with efficient channel attention."""
GCResNeXt26TS = _callable("GCResNeXt26TS")
"""ResNeXt26TS with global context."""
GCResNeXt50TS = _callable("GCResNeXt50TS")
"""ResNeXt-50 of the kind of GCResNeXt26TS."""
ResNeXt29_8x64d = _callable("ResNeXt29_8x64d")
"""ResNeXt-29 of 8x64d, the paper's for CIFAR."""
ResNeXt29_16x64d = _callable("ResNeXt29_16x64d")
"""ResNeXt-29 of 16x64d, the paper's larger one for CIFAR."""

ResNeXt50 = ResNeXt50_32x4d
ResNeXt101 = ResNeXt101_32x4d
