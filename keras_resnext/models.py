"""The public callables: the one place where networks and weights meet."""

import difflib
import fnmatch
import inspect
from typing import Any
from typing import Protocol

import keras

from keras_resnext import resnext
from keras_resnext.blocks import Activation
from keras_resnext.kernels.generic import Tensor
from keras_resnext.variants import VARIANTS
from keras_resnext.variants import ResNeXtConfig
from keras_resnext.weights import load
from keras_resnext.weights.catalogue import Weights


class ResNeXtCallable(Protocol):
    """Builds the network, with the arguments of every `keras.applications`.

    Reference: Xie et al., https://arxiv.org/abs/1611.05431 (CVPR 2017). Pixels
    go through `keras_resnext.preprocess_input` first.

    Args:
        include_top: Whether to end in the classifier.
        weights: `"imagenet"`, the most accurate permissively licensed
            checkpoint; the tag of another (see `list_weights`); the path of
            a file (safetensors, `.pth`, `.h5`, `.keras`); or `None`, random.
        input_tensor: Tensor to use as images; `None` makes an input.
        input_shape: Shape of one image, any size from 32 pixels (CIFAR's: 4),
            `None` for unknown, any channels: weights for RGB are adapted.
            Defaults to 224x224 RGB (32x32), without the top to any size.
        pooling: Without the top, `None` for the last feature maps, `"avg"`
            or `"max"` for their mean or maximum.
        classes: Number of classes of the classifier. Weights bring their own
            1,000; see `keras_resnext.finetuning.replace_classifier`.
        classifier_activation: Activation of the classifier, `None` for
            logits.
        name: Name of the model.

    Returns:
        A `keras.Model` from float images `(batch, height, width, channels)`
        to float32 probabilities `(batch, classes)`, or to features. Its
        attribute `weights_info` is the `Weights` record that it was loaded
        from, or `None`.

    Raises:
        ValueError: If arguments contradict each other, no such checkpoint
            exists, or the file doesn't fit.
        OSError: If the checkpoint can't be had.

    Example:
    >>> model = keras_resnext.ResNeXt50(weights="imagenet")
    >>> x = keras_resnext.preprocess_input(images)
    >>> keras_resnext.decode_predictions(model.predict(x), top=3)
    """

    __name__: str

    def __call__(
        self,
        include_top: bool = True,
        weights: load.Path | None = "imagenet",
        input_tensor: Tensor | None = None,
        input_shape: tuple[int | None, ...] | None = None,
        pooling: str | None = None,
        classes: int = 1000,
        classifier_activation: Activation = "softmax",
        name: str | None = None,
    ) -> keras.Model: ...


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
        _check_head(source, classes, classifier_activation)
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


def _check_head(record: Weights, classes: int, activation: Activation) -> None:
    if classes != record.classes:
        raise ValueError(
            f"The weights '{record.name}' tell {record.classes:,} classes "
            f"apart. Received: classes={classes}. Build the model with "
            f"classes={record.classes} and call keras_resnext.finetuning."
            f"replace_classifier(model, {classes}), or use include_top=False."
        )
    if keras.activations.get(activation) not in (
        keras.activations.softmax,
        keras.activations.linear,
    ):
        raise ValueError(
            "With pretrained weights `classifier_activation` must be "
            f"'softmax' or None. Received: {activation!r}"
        )


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


def _callable(name: str) -> ResNeXtCallable:
    config = VARIANTS[name.lower()]
    signature = inspect.signature(ResNeXtCallable.__call__)
    _, *arguments = signature.parameters.values()
    signature = signature.replace(parameters=arguments)

    def build(*args: Any, **kwargs: Any) -> keras.Model:
        call = signature.bind(*args, **kwargs)
        call.apply_defaults()
        return ResNeXt(config, **call.arguments)

    # As if written out, so that it pickles and help() reads well.
    build.__name__ = build.__qualname__ = name
    build.__doc__ = f"{name}. {ResNeXtCallable.__doc__}"
    vars(build)["__signature__"] = signature
    return build


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
ResNeXt29_8x64d = _callable("ResNeXt29_8x64d")
"""ResNeXt-29 of 8x64d, the paper's for CIFAR."""
ResNeXt29_16x64d = _callable("ResNeXt29_16x64d")
"""ResNeXt-29 of 16x64d, the paper's larger one for CIFAR."""

ResNeXt50 = ResNeXt50_32x4d
ResNeXt101 = ResNeXt101_32x4d
