"""Layers: leaf classes that anyone can use on their own."""

from keras_resnext.layers.batch_norm import (
    BatchNormalization as BatchNormalization,
)
from keras_resnext.layers.conv import Conv2D as Conv2D
from keras_resnext.layers.merge import Merge as Merge
from keras_resnext.layers.pooling import MaxPooling2D as MaxPooling2D

__all__ = ["BatchNormalization", "Conv2D", "MaxPooling2D", "Merge"]
