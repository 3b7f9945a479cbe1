"""What every public callable takes, gives and raises: the text of `help()`."""

import inspect
from collections.abc import Callable
from typing import Any
from typing import Protocol

import keras

from keras_resnext.blocks import Activation
from keras_resnext.kernels.generic import Tensor
from keras_resnext.variants import VARIANTS
from keras_resnext.weights import load


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
        classes: Number of classes of the classifier. Weights bring their own,
            nearly all 1,000; see
            `keras_resnext.finetuning.replace_classifier`.
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


def named(build: Callable[..., keras.Model], name: str) -> ResNeXtCallable:
    """Makes the callable of a variant out of the builder of all.

    Args:
        build: Builds a model from a configuration and arguments.
        name: The variant's name in capitals, such as `"ResNeXt50_32x4d"`.

    Returns:
        A function that pickles and reads in `help()` as if written out.
    """
    keys = {key.replace("_", ""): key for key in VARIANTS}
    config = VARIANTS[keys[name.replace("_", "").lower()]]
    signature = inspect.signature(ResNeXtCallable.__call__)
    _, *arguments = signature.parameters.values()
    signature = signature.replace(parameters=arguments)

    def variant(*args: Any, **kwargs: Any) -> keras.Model:
        call = signature.bind(*args, **kwargs)
        call.apply_defaults()
        return build(config, **call.arguments)

    variant.__name__ = variant.__qualname__ = name
    variant.__module__ = "keras_resnext"
    variant.__doc__ = f"{name}. {ResNeXtCallable.__doc__}"
    vars(variant)["__signature__"] = signature
    return variant
