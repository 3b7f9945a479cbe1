"""A tiny ResNeXt, its checkpoints, and records of them."""

import functools
import math
from collections.abc import Iterable
from typing import Any

import keras
import numpy as np

from keras_resnext import FixedCardinality
from keras_resnext import ResNeXt
from keras_resnext import ResNeXtConfig
from keras_resnext import Stem
from keras_resnext.weights import convert
from keras_resnext.weights.checkpoint import variables_of
from keras_resnext.weights.records import Evaluation
from keras_resnext.weights.records import HubFile
from keras_resnext.weights.records import WebFile
from keras_resnext.weights.records import Weights

CONFIG = ResNeXtConfig(
    depths=(1, 1), grouping=FixedCardinality(2, 16), out_channels=(128, 256)
)
# Of one block, where there are several models.
SMALLEST = ResNeXtConfig(
    depths=(1,),
    grouping=FixedCardinality(2, 16),
    out_channels=(16,),
    stem=Stem(widths=(4,), kernel_size=3),
)
CLASSES = 5


def build(config: ResNeXtConfig = CONFIG, **options: Any) -> keras.Model:
    """Build the model, without softmax."""
    options = {
        "input_shape": (32, 32, 3),
        "classes": CLASSES,
        "classifier_activation": None,
        **options,
    }
    return ResNeXt(config, **options)


@functools.cache
def shared(config: ResNeXtConfig = CONFIG, **options: Any) -> keras.Model:
    """Return the model, built once: only its values may be changed."""
    return build(config, **options)


def filled(model: keras.Model, seed: int = 1) -> keras.Model:
    """Return a model, its variables set to random values."""
    variables = dict(variables_of(model))
    for key, value in random_values(model, seed).items():
        variables[key].assign(value)
    return model


def values(model: keras.Model) -> dict[convert.Variable, np.ndarray]:
    """Every variable of a model, as an array."""
    return {
        key: keras.ops.convert_to_numpy(variable.value)
        for key, variable in variables_of(model)
    }


def shapes(model: keras.Model) -> dict[convert.Variable, tuple[int, ...]]:
    """Return the shape of every variable of a model."""
    return {key: tuple(variable.shape) for key, variable in variables_of(model)}


def layers(model: keras.Model) -> list[str]:
    """Return the names of a model's layers."""
    return [layer.name for layer in model.layers]


def random(
    shapes: dict[Any, tuple[int, ...]], variances: Iterable[Any], seed: int = 0
) -> dict[Any, np.ndarray]:
    """Arrays that keep activations near one; those of `variances` positive."""
    rng = np.random.default_rng(seed)
    variances = set(variances)
    return {
        key: (
            rng.uniform(0.01, 2.0, shape)
            if key in variances
            else rng.normal(0.0, max(math.prod(shape[:-1]), 4) ** -0.5, shape)
        ).astype("float32")
        for key, shape in shapes.items()
    }


def random_values(
    model: keras.Model, seed: int = 0
) -> dict[convert.Variable, np.ndarray]:
    """Random values for every variable of a model."""
    sizes = shapes(model)
    variances = [k for k in sizes if k[1].endswith("moving_variance")]
    return random(sizes, variances, seed)


def checkpoint(
    model: keras.Model, seed: int = 0, layout: str = "timm_resnet"
) -> dict[str, np.ndarray]:
    """Random values for a model, in the layout of a checkpoint."""
    return convert.from_keras(random_values(model, seed), layers(model), layout)


def assert_values(
    model: keras.Model, expected: dict[convert.Variable, np.ndarray]
) -> None:
    """Assert that a model's variables are exactly these."""
    actual = values(model)
    assert actual.keys() == expected.keys()
    for key, value in expected.items():
        np.testing.assert_array_equal(actual[key], value, str(key))


def record(*sources: HubFile | WebFile, **options: Any) -> Weights:
    """Return a row as of the catalog, for the tiny model."""
    return Weights(
        variant="tiny",
        tag="test",
        sources=sources,
        license="mit",
        num_params=0,
        train_size=32,
        evaluations=(Evaluation(32, 1.0, None, None),),
        interpolation="bilinear",
        classes=CLASSES,
        **options,
    )
