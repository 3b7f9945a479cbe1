"""What a network costs, by calculation."""

import math

import keras


def multiply_adds(model: keras.Model) -> int:
    """Counts the multiplications, each with an addition, of one image.

    Those of convolutions and dense layers, as the paper counts its "FLOPs"
    (Xie et al., 2017, https://arxiv.org/abs/1611.05431, Table 1).

    Args:
        model: A Functional model of images of a known size.

    Raises:
        ValueError: If the size of the images is not known.

    Example:
    >>> model = keras_resnext.ResNeXt50(weights=None)
    >>> keras_resnext.complexity.multiply_adds(model)
    4230479872
    """
    total = 0
    for layer in model.layers:
        if isinstance(layer, (keras.layers.Conv2D, keras.layers.Dense)):
            outputs = layer.output.shape[1:]
            if None in outputs:
                raise ValueError(
                    f"'{model.name}' takes images of any size. Build it with "
                    "an `input_shape` such as (224, 224, 3)."
                )
            # Each number put out has as many as a filter has weights.
            total += math.prod(outputs) * math.prod(layer.kernel.shape[:-1])
    return total
