"""Models of old Keras libraries, whose files still have to be read.

Each builder returns a model and, in the order in which the library's files
have them, those of its layers that have weights.
"""

import collections
import pathlib
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from typing import Any

import checkpoint_files
import keras
import numpy as np
from keras import layers

from keras_resnext import ResNeXtConfig
from keras_resnext.weights import convert

Built = tuple[keras.Model, list[keras.Layer]]


def conv(filters: int, size: int, name: str, strides: int = 1) -> keras.Layer:
    return layers.Conv2D(
        filters, size, strides=strides, use_bias=False, name=name
    )


def stem(x: Any, convolution: keras.Layer, batch_norm: keras.Layer) -> Any:
    x = batch_norm(convolution(layers.ZeroPadding2D(3)(x)))
    x = layers.ZeroPadding2D(1)(layers.ReLU()(x))
    return layers.MaxPooling2D(3, 2)(x)


# keras-applications ----------------------------------------------------------


def keras_applications(
    config: ResNeXtConfig, classes: int, head: str = "predictions"
) -> Built:
    inputs = keras.Input((32, 32, 3))
    x = stem(inputs, conv(64, 7, "conv1_conv", 2), _batch_norm("conv1_bn"))
    stages = zip(config.depths, config.out_channels, strict=True)
    for stage, (depth, out_channels) in enumerate(stages, start=2):
        filters, groups = config.grouping.width_and_groups(out_channels)
        for block in range(1, depth + 1):
            strides = 2 if block == 1 and stage > 2 else 1
            name = f"conv{stage}_block{block}"
            x = _block(
                x, filters, out_channels, groups, strides, block == 1, name
            )
    x = layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, layers.Dense(classes, name=head)(x))
    return model, [layer for layer in model.layers if layer.weights]


def _batch_norm(name: str) -> keras.Layer:
    return layers.BatchNormalization(epsilon=1.001e-5, name=name)


def _depthwise(x: Any, groups: int, strides: int, name: str) -> Any:
    """Stand for a grouped convolution, as before Keras had one."""
    width = x.shape[-1] // groups
    x = layers.ZeroPadding2D(1)(x)
    x = layers.DepthwiseConv2D(
        3, strides=strides, depth_multiplier=width, use_bias=False, name=name
    )(x)
    rows, columns = x.shape[1:3]
    x = layers.Reshape((rows, columns, groups, width, width))(x)
    x = keras.ops.sum(x, axis=-2)
    return layers.Reshape((rows, columns, groups * width))(x)


def _block(
    x: Any,
    filters: int,
    out_channels: int,
    groups: int,
    strides: int,
    project: bool,
    name: str,
) -> Any:
    shortcut = x
    if project:
        shortcut = conv(out_channels, 1, f"{name}_0_conv", strides)(x)
        shortcut = _batch_norm(f"{name}_0_bn")(shortcut)
    x = _batch_norm(f"{name}_1_bn")(conv(filters, 1, f"{name}_1_conv")(x))
    x = _depthwise(layers.ReLU()(x), groups, strides, f"{name}_2_conv")
    x = layers.ReLU()(_batch_norm(f"{name}_2_bn")(x))
    x = _batch_norm(f"{name}_3_bn")(conv(out_channels, 1, f"{name}_3_conv")(x))
    return layers.ReLU()(layers.Add()([shortcut, x]))


# qubvel's classification_models ----------------------------------------------


def qubvel(config: ResNeXtConfig, classes: int | None, first: int = 0) -> Built:
    """ResNeXt or, with attention, SE-ResNeXt.

    Args:
        config: The model.
        classes: Number of classes, or `None` without a classifier.
        first: How many layers of a kind had their number before.
    """
    numbers: dict[str, int] = collections.defaultdict(lambda: first)

    def numbered(kind: str) -> str:
        number = numbers[kind]
        numbers[kind] += 1
        return f"{kind}_{number}" if number else kind

    excites = config.attention is not None
    epsilon = 1e-5 if excites else 2e-5

    def plain(filters: int, size: int, name: str, strides: int = 1) -> Any:
        name = numbered("conv2d") if excites else name
        return conv(filters, size, name, strides)

    def batch_norm(name: str, **options: Any) -> keras.Layer:
        name = numbered("batch_normalization") if excites else name
        return layers.BatchNormalization(epsilon=epsilon, name=name, **options)

    inputs = x = keras.Input((32, 32, 3))
    stored = []
    if not excites:
        stored = [batch_norm("bn_data", scale=False)]
        x = stored[0](x)
    stored += [plain(64, 7, "conv0", 2), batch_norm("bn0")]
    x = stem(x, *stored[-2:])
    stages = zip(config.depths, config.out_channels, strict=True)
    for stage, (depth, out_channels) in enumerate(stages, start=1):
        filters, groups = config.grouping.width_and_groups(out_channels)
        for unit in range(1, depth + 1):
            name = f"stage{stage}_unit{unit}_"
            strides = 2 if unit == 1 and stage > 1 else 1
            main = [
                plain(filters, 1, name + "conv1"),
                batch_norm(name + "bn1"),
                *[
                    conv(filters // groups, 3, numbered("conv2d"), strides)
                    for _ in range(groups)
                ],
                batch_norm(name + "bn2"),
                plain(out_channels, 1, name + "conv3"),
                batch_norm(name + "bn3"),
            ]
            shortcut = []
            if unit == 1:
                shortcut = [
                    plain(out_channels, 1, name + "sc", strides),
                    batch_norm(name + "sc_bn"),
                ]
            excitation = []
            if excites:
                excitation = [
                    layers.Conv2D(
                        width, 1, activation=activation, name=numbered("conv2d")
                    )
                    for width, activation in (
                        (out_channels // 16, "relu"),
                        (out_channels, "sigmoid"),
                    )
                ]
            x = _unit(x, main, shortcut, excitation)
            # Keras sorts layers by their depth, counted from the output.
            if excites:
                stored += [*main, *excitation, *shortcut]
            elif shortcut:
                stored += [*main[:-1], shortcut[0], main[-1], shortcut[1]]
            else:
                stored += main
    if classes is not None:
        head = numbered("dense") if excites else "fc1"
        stored.append(layers.Dense(classes, name=head))
        x = stored[-1](layers.GlobalAveragePooling2D()(x))
    return keras.Model(inputs, x), stored


def _unit(
    x: Any,
    main: list[keras.Layer],
    shortcut: list[keras.Layer],
    excitation: list[keras.Layer],
) -> Any:
    conv1, bn1, *paths, bn2, conv3, bn3 = main
    residual = x
    for layer in shortcut:
        residual = layer(residual)
    x = layers.ZeroPadding2D(1)(layers.ReLU()(bn1(conv1(x))))
    width = x.shape[-1] // len(paths)
    slices = [x[..., i * width :][..., :width] for i in range(len(paths))]
    x = layers.Concatenate()(
        [path(each) for path, each in zip(paths, slices, strict=True)]
    )
    x = bn3(conv3(layers.ReLU()(bn2(x))))
    scale = keras.ops.mean(x, axis=(1, 2), keepdims=True)
    for layer in excitation:
        scale = layer(scale)
    x = layers.Multiply()([x, scale]) if excitation else x
    return layers.ReLU()(layers.Add()([x, residual]))


# Their files -----------------------------------------------------------------


def names(stored: Iterable[keras.Layer]) -> dict[convert.Variable, str]:
    """Return a file's name of each variable, in the file's order."""
    return {
        (layer.name, variable.name): (
            f"{layer.name}/"
            + ("depthwise_" * isinstance(layer, layers.DepthwiseConv2D))
            + variable.name
        )
        for layer in stored
        for variable in layer.weights
    }


def write(
    path: pathlib.Path,
    stored: Iterable[keras.Layer],
    values: Mapping[convert.Variable, np.ndarray],
    root: str = "/",
    rename: Callable[[str], str] = lambda name: name,
) -> pathlib.Path:
    """Write as the Keras of its day did, a flatten layer included."""
    content: dict[str, dict[str, np.ndarray]] = {"flatten": {}}
    for (layer, variable), name in names(stored).items():
        tensors = content.setdefault(rename(layer), {})
        tensors[f"{rename(name)}:0"] = values[layer, variable]
    return checkpoint_files.write_h5(path, content, root)
