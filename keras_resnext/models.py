"""Models with weights."""

import dataclasses
import fnmatch
from typing import Any

import keras

from keras_resnext import resnext
from keras_resnext.blocks import Activation
from keras_resnext.checks import check_type
from keras_resnext.config import ResNeXtConfig
from keras_resnext.kernels.generic import Tensor
from keras_resnext.variants import VARIANTS
from keras_resnext.variants import find_variant
from keras_resnext.weights.argument import check_head
from keras_resnext.weights.argument import resolve
from keras_resnext.weights.checkpoint import Checkpoint
from keras_resnext.weights.checkpoint import Path
from keras_resnext.weights.checkpoint import load_checkpoint
from keras_resnext.weights.records import Weights


def ResNeXt(
    config: ResNeXtConfig,
    include_top: bool = True,
    weights: Path | None = None,
    input_tensor: Tensor | None = None,
    input_shape: tuple[int | None, ...] | None = None,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: Activation = "softmax",
    name: str | None = None,
) -> keras.Model:
    """Build a model of any configuration.

    Args:
        config: A `ResNeXtConfig`, such as a row of `VARIANTS` or
            `dataclasses.replace` of one. Its `dropout`, `stochastic_depth`
            and `output_stride` don't affect which weights fit.
        include_top: Whether to end in the classifier.
        weights: `None`, or the path or address (`hf://…`, `https://…`) of a
            checkpoint; for the architecture of a row of `VARIANTS`, also
            `"imagenet"` or a tag.
        input_tensor: Tensor to use as images, as for `ResNeXt50`.
        input_shape: Shape of one image.
        pooling: Pooling of the features without the top.
        classes: Number of classes of the classifier.
        classifier_activation: Activation of the classifier.
        name: Name of the model.

    Returns:
        A `keras.Model`, as from `ResNeXt50`.

    Raises:
        ValueError: If arguments contradict each other.

    Example:
    >>> config = keras_resnext.ResNeXtConfig(
    ...     depths=(3, 4, 6, 3), grouping=keras_resnext.FixedCardinality(8, 14)
    ... )
    >>> keras_resnext.ResNeXt(config).count_params()
    25667464
    """
    check_type("config", config, ResNeXtConfig)
    check_type("include_top", include_top, bool)
    rows = {row.architecture(): key for key, row in VARIANTS.items()}
    variant = rows.get(config.architecture())
    source = resolve(weights, variant)
    if isinstance(source, Weights) and include_top:
        # By default, the number of classes is the checkpoint's.
        classes = source.classes if classes == 1000 else classes
        check_head(source, classes, classifier_activation)
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
    if source is not None:
        load_checkpoint(model, source)
    return model


def list_models(pattern: str = "*") -> list[str]:
    """List the names of the variants, sorted.

    Args:
        pattern: Shell-style pattern that names must match.

    Example:
    >>> keras_resnext.list_models("*_64x4d")
    ['resnext101_64x4d', 'seresnext101_64x4d']
    """
    check_type("pattern", pattern, str)
    return sorted(fnmatch.filter(VARIANTS, pattern))


def get_model(name: str, /, **kwargs: Any) -> keras.Model:
    """Build a variant by its name.

    Args:
        name: A name of `list_models()`, or `"variant.tag"` as timm writes it.
        **kwargs: Arguments of `ResNeXt50`, and fields of `ResNeXtConfig` to
            change, such as `stochastic_depth=0.1` or `output_stride=8`.

    Returns:
        A `ResNeXtModel`.

    Raises:
        ValueError: If there is no such variant; the message lists them.

    Example:
    >>> keras_resnext.get_model("resnext50_32x4d.a1_in1k", include_top=False)
    """
    check_type("name", name, str)
    variant, _, tag = name.partition(".")
    config = find_variant(variant)
    kwargs.setdefault("weights", tag or "imagenet")
    fields = {field.name for field in dataclasses.fields(ResNeXtConfig)}
    changes = {key: kwargs.pop(key) for key in fields & kwargs.keys()}
    return ResNeXt(dataclasses.replace(config, **changes), **kwargs)


def model_from_checkpoint(
    path: Path, weight_set: str | None = None, **kwargs: Any
) -> keras.Model:
    """Build the model that a checkpoint belongs to, with its weights.

    Args:
        path: A safetensors file, a `.pth` of PyTorch, a legacy `.h5` or a
            `.keras` file, or the address of one, as for `load_checkpoint`.
            Damaged `.keras` files, on which `keras.saving.load_model` may
            hang, are refused; Keras reads the configuration, in safe mode.
        weight_set: Set of weights in a training checkpoint, as for
            `load_checkpoint`.
        **kwargs: Arguments of `get_model` except `weights`; none for a
            `.keras` file.

    Returns:
        The model, not compiled.

    Raises:
        OSError: If there is no such file.
        ValueError: If it can't be read, or does not fit exactly one variant;
            `get_model(name, weights=path)` then chooses one.

    Example:
    >>> model = keras_resnext.model_from_checkpoint("flowers.safetensors")
    """
    with Checkpoint.open(path, weight_set) as checkpoint:
        model = checkpoint.saved_model()
        if model is None:
            if checkpoint.classes is None:
                kwargs.setdefault("include_top", False)
            else:
                kwargs.setdefault("classes", checkpoint.classes)
            model = get_model(checkpoint.variant, weights=None, **kwargs)
            checkpoint.assign(model)
        elif kwargs:
            raise ValueError(
                "A .keras file contains its model, so there is nothing to "
                f"choose. Received: {', '.join(kwargs)}"
            )
    return model
