"""RetinaNet on the features of a ResNeXt.

Lin et al., 2017, https://arxiv.org/abs/1708.02002. Anchors, targets, losses
and non-maximum suppression are keras-cv's. Its pyramid and heads always have
256 channels; here their number is an argument.
"""

from collections.abc import Sequence
from typing import Any

import keras
import keras_cv
import numpy as np

import keras_resnext
from examples.detection.backbones import STAGES
from examples.detection.backbones import first_level

# keras-cv's name for boxes of left, top, right and bottom edge in pixels.
FORMAT = "xyxy"
# Maps after those of the model, each half of the one before it.
MORE = 2
ANCHORS = {
    "aspect_ratios": [0.5, 1.0, 2.0],
    "scales": [2 ** (third / 3) for third in range(3)],
}
ANCHORS_A_PLACE = 9
# Initial probability that an anchor shows a class.
PRIOR = 0.01
# Minimum score, maximum overlap with a better box, maximum number of boxes.
CONFIDENCE, OVERLAP, MOST = 0.05, 0.5, 100


class Detector(keras_cv.models.RetinaNet):
    """RetinaNet with images as inputs, as its own `fit` passes them."""

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Return the outputs of the heads for images."""
        return super().call({"images": inputs}, training=training)

    def predict_step(self, data: Any) -> dict[str, Any]:
        """Return the boxes, classes and scores of found objects."""
        images, *_ = keras.utils.unpack_x_y_sample_weight(data)
        return self.decode_predictions(self(images, training=False), images)


def detector(
    backbone: keras.Model, classes: int, channels: int, depth: int
) -> keras.Model:
    """Build a detector: a model, a feature pyramid and heads.

    Args:
        backbone: Model without its classifier.
        classes: Number of classes.
        channels: Channels of the pyramid's maps.
        depth: Convolutions of a head before its last one.

    Returns:
        A `Detector`, in float32 after its heads.
    """
    maps = keras_resnext.feature_pyramid(backbone)
    first, chosen = first_level(maps), list(maps.output)[-STAGES:]
    # RetinaNet needs names of layers, by the levels of ImageNet models.
    maps.pyramid_level_inputs = {
        f"P{3 + i}": maps.output[level]._keras_history.operation.name
        for i, level in enumerate(chosen)
    }
    widths = [maps.output[level].shape[-1] for level in chosen]
    inputs = {
        "feature_pyramid": pyramid(widths, channels),
        "classification_head": head(classes, channels, depth, PRIOR),
        "box_head": head(4, channels, depth, 0.5),
    }
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")
    strides = [2 ** (first + i) for i in range(STAGES + MORE)]
    try:
        return Detector(
            maps,
            classes,
            FORMAT,
            anchor_generator=keras_cv.layers.AnchorGenerator(
                FORMAT,
                sizes=[4.0 * stride for stride in strides],
                strides=strides,
                clip_boxes=True,
                **ANCHORS,
            ),
            prediction_decoder=keras_cv.layers.MultiClassNonMaxSuppression(
                FORMAT,
                from_logits=True,
                iou_threshold=OVERLAP,
                confidence_threshold=CONFIDENCE,
                max_detections=MOST,
            ),
            **inputs,
        )
    finally:
        keras.config.set_dtype_policy(policy)


def pyramid(widths: Sequence[int], channels: int) -> keras.Model:
    """Build a feature pyramid (Lin et al., https://arxiv.org/abs/1612.03144).

    Args:
        widths: Channels of each stage's map.
        channels: Channels of the maps that it returns.
    """

    def conv(name: str, size: int, strides: int = 1) -> keras.layers.Layer:
        return keras.layers.Conv2D(
            channels, size, strides, padding="same", name=name
        )

    inputs = {
        f"P{3 + i}": keras.Input((None, None, width), name=f"P{3 + i}")
        for i, width in enumerate(widths)
    }
    maps: dict[str, keras.KerasTensor] = {}
    above = None
    for name, tensor in reversed(inputs.items()):
        x = conv(f"{name}_lateral", 1)(tensor)
        if above is not None:
            x = keras.layers.Add()([x, keras.layers.UpSampling2D(2)(above)])
        maps[name] = above = x
    outputs = [conv(f"{name}_out", 3)(maps[name]) for name in inputs]
    x = tensor = list(inputs.values())[-1]
    for i in range(MORE):
        name = f"P{3 + STAGES + i}"
        x = conv(f"{name}_out", 3, 2)(keras.ops.relu(x) if i else tensor)
        outputs.append(x)
    return keras.Model(inputs, outputs, name="pyramid")


def head(
    numbers: int, channels: int, depth: int, prior: float
) -> keras.Sequential:
    """Build a head that returns some numbers for each anchor.

    Args:
        numbers: Numbers per anchor.
        channels: Channels of the pyramid's maps, and between.
        depth: Convolutions before the last one.
        prior: Initial sigmoid of a number.
    """
    hidden = [
        keras.layers.Conv2D(
            channels,
            3,
            padding="same",
            activation="relu",
            kernel_initializer="orthogonal",
        )
        for _ in range(depth)
    ]
    last = keras.layers.Conv2D(
        ANCHORS_A_PLACE * numbers,
        3,
        padding="same",
        kernel_initializer=keras.initializers.RandomNormal(stddev=0.01),
        bias_initializer=keras.initializers.Constant(
            -np.log((1 - prior) / prior)
        ),
        dtype="float32",
    )
    inputs = keras.Input((None, None, channels))
    return keras.Sequential([inputs, *hidden, last])
