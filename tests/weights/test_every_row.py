"""Rows of the catalog: each takes a file of its layout's names and shapes.

The names are those that the library which wrote such files gives its own
model; the values are zeros that take no memory.
"""

import functools
import math

import keras
import numpy as np
import old_models
import pytest
import tinynet
from checkpoint_files import read_checkpoint
from torch_helpers import import_torchvision

import keras_resnext
from keras_resnext.variants import VARIANTS
from keras_resnext.weights import convert
from keras_resnext.weights import identify
from keras_resnext.weights.fetch import fetch
from keras_resnext.weights.records import PackageFile
from keras_resnext.weights.table import WEIGHTS

pytestmark = pytest.mark.once

# Layouts whose models are rebuilt here, as nothing else can build them.
OURS = ("keras_applications", "qubvel")


def zeros(shape, dtype="float32"):
    return np.broadcast_to(np.zeros((), dtype), shape)


def of_torch(module):
    dtypes = {"torch.float32": "float32", "torch.int64": "int64"}
    return {
        name: zeros(tuple(tensor.shape), dtypes[str(tensor.dtype)])
        for name, tensor in module.state_dict().items()
    }


def of_timm(row):
    torch = pytest.importorskip("torch")
    import_torchvision()
    timm = pytest.importorskip("timm")
    with torch.device("meta"):
        if row.variant != "resnext101_32x48d":  # of which timm has no model
            return of_torch(
                timm.create_model(row.variant, num_classes=row.classes)
            )
        resnet = timm.models.resnet
        return of_torch(
            resnet.ResNet(
                resnet.Bottleneck, (3, 4, 23, 3), cardinality=32, base_width=48
            )
        )


def of_torchvision(row):
    torch = pytest.importorskip("torch")
    models = import_torchvision().models
    with torch.device("meta"):
        return of_torch(models.get_model(row.variant))


def of_mmpretrain(row):
    """Its model is torchvision's, in two parts."""
    torch = pytest.importorskip("torch")
    resnet = import_torchvision().models.resnet
    config = VARIANTS[row.variant]
    with torch.device("meta"):
        theirs = resnet.ResNet(
            resnet.Bottleneck,
            list(config.depths),
            groups=config.grouping.cardinality,
            width_per_group=config.grouping.bottleneck_width,
        )
    return {
        f"{'head' if name.startswith('fc.') else 'backbone'}.{name}": tensor
        for name, tensor in of_torch(theirs).items()
    }


def of_keras(row):
    build = getattr(old_models, row.layout)
    with keras.StatelessScope(initialize_variables=False):
        _, stored = build(VARIANTS[row.variant], row.classes)
    names = old_models.names(stored)
    return {
        names[layer.name, variable.name]: zeros(variable.shape)
        for layer in stored
        for variable in layer.weights
    }


def is_here(row):
    return isinstance(row.sources[0], PackageFile)


def file_of(row):
    if is_here(row):
        return read_checkpoint(fetch(row))
    if row.tag.startswith("IMAGENET1K_"):
        return of_torchvision(row)
    if row.layout == "mmpretrain":
        return of_mmpretrain(row)
    return of_timm(row) if row.layout.startswith("timm_") else of_keras(row)


@functools.cache
def model_of(variant, classes):
    """Build a model whose variables have shapes but no values."""
    with keras.StatelessScope(initialize_variables=False):
        return keras_resnext.get_model(variant, weights=None, classes=classes)


def load(row, tensors, include_top=True):
    assert identify.detect_layout(tensors) == row.layout
    model = model_of(row.variant, row.classes)
    shapes, layers = tinynet.shapes(model), tinynet.layers(model)
    if not include_top:
        layers.remove("predictions")
        shapes = {k: v for k, v in shapes.items() if k[0] != "predictions"}
    values = dict(convert.to_keras(tensors, shapes, layers, row.layout))
    assert {key: value.shape for key, value in values.items()} == shapes


def parametrize(*, by_another_library):
    params = []
    for row in WEIGHTS:
        marks = [pytest.mark.slow] if row.num_params > 40e6 else []
        if by_another_library and not is_here(row) and row.layout not in OURS:
            marks.append(pytest.mark.parity)
        params.append(pytest.param(row, id=row.name, marks=marks))
    return pytest.mark.parametrize("row", params)


@parametrize(by_another_library=True)
def test_its_file_loads(row):
    tensors = file_of(row)
    load(row, tensors)
    if any(not source.has_top for source in row.sources):
        head = list(tensors)[-1].rpartition("/")[0]
        rest = {
            name: tensor
            for name, tensor in tensors.items()
            if not name.startswith(f"{head}/")
        }
        assert len(rest) == len(tensors) - 2
        load(row, rest, include_top=False)


@parametrize(by_another_library=False)
def test_its_parameters_are_the_models(row):
    variables = model_of(row.variant, row.classes).trainable_variables
    assert sum(math.prod(v.shape) for v in variables) == row.num_params
