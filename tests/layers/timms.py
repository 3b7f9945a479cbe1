"""Layers of ours beside modules of timm's."""

from collections.abc import Callable
from typing import Any

import harness
import keras
import numpy as np
from autodiff import gradients
from keras import ops
from keras import tree
from torch_helpers import randomize

from keras_resnext.weights import convert
from keras_resnext.weights.checkpoint import variables_of

LAYOUT = "timm_byob"
NAME = "stage1_block1_attention"
THEIR_NAME = "stages.0.0.attn"


def assert_same(
    layer: Any,
    module: Any,
    x: Any,
    training: bool,
    call: Any = None,
    share: float = 1e-6,
    slopes: float | None = 1e-5,
) -> None:
    """Assert equal outputs, statistics of batches, and gradients.

    timm's are computed in double precision: batch normalization upon batch
    normalization adds up the rounding of both.

    Args:
        layer: A layer named `NAME`, which gets the module's weights.
        module: timm's, which gets random ones.
        x: A batch of images, channels last, or a list of them.
        training: Whether to compare in training mode.
        call: Function to call instead of the module.
        share: Tolerance of outputs and statistics, as a share of the largest
            number.
        slopes: Tolerance of gradients, likewise; `None` not to compare them.
    """
    randomize(module).train(training).double().zero_grad()
    images = tree.map_structure(lambda one: keras.Input(one.shape[1:]), x)
    model = keras.Model(images, layer(images))
    _load(model, module)
    cotangent = np.random.default_rng(1).normal(size=model.output.shape[1:])
    cotangent = cotangent.astype("float32")
    found = _ours(model, x, cotangent, training)
    expected = _theirs(module, call or module, x, cotangent)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        is_slope = name != "outputs" and "running" not in name
        allowed = slopes if is_slope else share
        if allowed is not None:
            harness.assert_close(found[name], value, allowed)


def _load(model: keras.Model, module: Any) -> None:
    variables = dict(variables_of(model))
    tensors = {
        f"{THEIR_NAME}.{name}": tensor.numpy()
        for name, tensor in module.state_dict().items()
    }
    shapes = {key: tuple(v.shape) for key, v in variables.items()}
    values = convert.to_keras(tensors, shapes, [NAME], LAYOUT)
    for key, value in values:
        variables[key].assign(value)


def _ours(
    model: keras.Model, x: Any, cotangent: np.ndarray, training: bool
) -> dict[str, np.ndarray]:
    images = tree.flatten(x)
    moving = [variable.value for variable in model.non_trainable_variables]

    def weighted_sum(*tensors: Any) -> tuple:
        trainable = list(tensors[len(images) :])
        y, after = model.stateless_call(
            trainable,
            moving,
            tree.pack_sequence_as(x, tensors[: len(images)]),
            training=training,
        )
        return (ops.sum(ops.multiply(y, cotangent)), y, *after)

    trainable = [ops.convert_to_numpy(v) for v in model.trainable_variables]
    results, slopes = gradients(weighted_sum, *images, *trainable)
    _, y, *after = results
    keys = {id(variable): key for key, variable in variables_of(model)}
    values = {
        keys[id(variable)]: value
        for variable, value in zip(
            model.trainable_variables + model.non_trainable_variables,
            slopes[len(images) :] + after,
            strict=True,
        )
        if id(variable) in keys  # and not the state of a seed
    }
    return {
        "outputs": y,
        **{
            f"inputs.{i}": slope
            for i, slope in enumerate(slopes[: len(images)])
        },
        **convert.from_keras(values, [NAME], LAYOUT),
    }


def _theirs(
    module: Any, call: Callable, x: Any, cotangent: np.ndarray
) -> dict[str, np.ndarray]:
    import torch

    def turned(array: np.ndarray) -> Any:
        array = np.moveaxis(array, -1, -3).astype("float64")
        return torch.tensor(array, requires_grad=True)

    def back(tensor: Any) -> np.ndarray:
        return np.moveaxis(tensor.detach().numpy(), 1, -1)

    images = tree.map_structure(turned, x)
    y = call(images)
    torch.sum(y * turned(cotangent)).backward()
    slopes = [back(image.grad) for image in tree.flatten(images)]
    weights = {name: p.grad for name, p in module.named_parameters()}
    weights |= {
        name: buffer
        for name, buffer in module.named_buffers()
        if "num_batches" not in name
    }
    return {
        "outputs": back(y),
        **{f"inputs.{i}": slope for i, slope in enumerate(slopes)},
        **{f"{THEIR_NAME}.{k}": v.numpy() for k, v in weights.items()},
    }
