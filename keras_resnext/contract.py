"""Signature and docstring of the public callables: the text of `help()`."""

import inspect
import textwrap
from collections.abc import Callable
from typing import Any
from typing import Protocol

import keras

from keras_resnext.blocks import Activation
from keras_resnext.kernels.generic import Tensor
from keras_resnext.variants import VARIANTS
from keras_resnext.weights.catalog import default_weights
from keras_resnext.weights.checkpoint import Path
from keras_resnext.weights.table import WEIGHTS


class ResNeXtCallable(Protocol):
    """Builder of a variant.

    Reference: Xie et al., https://arxiv.org/abs/1611.05431 (CVPR 2017).
    `keras_resnext.preprocess_input` prepares pixels.

    Args:
        include_top: Whether to end in the classifier.
        weights: `"imagenet"`, the most accurate permissively licensed
            checkpoint; the tag of another (see `list_weights`); the path of
            a file (safetensors, `.pth`, `.h5`, `.keras`); or `None`, random.
        input_tensor: Tensor to use as images; `None` makes an input.
        input_shape: Shape of one image: at least 32 pixels (CIFAR models: 4),
            `None` for any; RGB weights are adapted to other channels.
            Defaults to 224x224 RGB (CIFAR: 32x32), without the top to any size.
        pooling: Without the top, `None` for the last feature maps, `"avg"`
            or `"max"` for their mean or maximum.
        classes: Number of classes of the classifier. Weights have their own,
            mostly 1,000; see `keras_resnext.finetuning.reset_classifier`.
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
        OSError: If the checkpoint can't be downloaded or read.

    Example:
    >>> model = keras_resnext.ResNeXt50(weights="imagenet")
    >>> x = keras_resnext.preprocess_input(images)
    >>> keras_resnext.decode_predictions(model.predict(x), top=3)
    """

    __name__: str

    def __call__(
        self,
        include_top: bool = True,
        weights: Path | None = "imagenet",
        input_tensor: Tensor | None = None,
        input_shape: tuple[int | None, ...] | None = None,
        pooling: str | None = None,
        classes: int = 1000,
        classifier_activation: Activation = "softmax",
        name: str | None = None,
    ) -> keras.Model: ...


def named(build: Callable[..., keras.Model], name: str) -> ResNeXtCallable:
    """Make a variant's callable from the builder of all variants.

    Args:
        build: Builds a model from a configuration and arguments.
        name: The variant's name in capitals, such as `"ResNeXt50_32x4d"`.

    Returns:
        A function that can be pickled, with its own signature and docstring.
    """
    keys = {key.replace("_", ""): key for key in VARIANTS}
    key = keys[name.replace("_", "").lower()]
    config = VARIANTS[key]
    signature = inspect.signature(ResNeXtCallable.__call__)
    _, *arguments = signature.parameters.values()
    signature = signature.replace(parameters=arguments)

    def variant(*args: Any, **kwargs: Any) -> keras.Model:
        call = signature.bind(*args, **kwargs)
        call.apply_defaults()
        return build(config, **call.arguments)

    variant.__name__ = variant.__qualname__ = name
    variant.__module__ = "keras_resnext"
    _, _, contract = (inspect.getdoc(ResNeXtCallable) or "").partition("\n\n")
    variant.__doc__ = (
        f"Build {name}, with the arguments of `keras.applications`.\n\n"
        f"{facts(key)}\n\n{contract}"
    )
    vars(variant)["__signature__"] = signature
    return variant


def facts(variant: str) -> str:
    """List a variant's input size, parameters and checkpoints.

    Args:
        variant: The variant's name, for example `"resnext50_32x4d"`.

    Returns:
        A bulleted list, in lines that fit a terminal.
    """
    size = VARIANTS[variant].default_size
    items = [f"Input size: {size}x{size} pixels by default."]
    rows = [row for row in WEIGHTS if row.variant == variant]
    for row in rows[:1]:
        items.append(
            f"Parameters: {row.num_params:,}, with a classifier of "
            f"{row.classes:,} classes."
        )
    default = default_weights(variant)
    if default is None:
        items.append('`weights="imagenet"`: not available.')
    else:
        items.append(
            f'`weights="imagenet"`: `"{default.tag}"`, top-1 accuracy '
            f"{default.top1:.2f} % at {default.eval_size}x{default.eval_size} "
            f"pixels, license {default.license}."
        )
    others = [
        f'`"{row.tag}"` ({row.license})' for row in rows if row is not default
    ]
    items.append(f"Other weights: {', '.join(others) or 'none'}.")
    return "\n".join(
        textwrap.fill(
            f"- {item}",
            width=76,
            subsequent_indent="  ",
            break_long_words=False,
            break_on_hyphens=False,
        )
        for item in items
    )
