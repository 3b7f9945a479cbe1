"""Calls of layers without Keras' bookkeeping, on torch."""

from typing import Any

import keras

from keras_resnext.kernels import kernels
from keras_resnext.kernels.generic import Tensor


class DirectCall(keras.layers.Layer):
    """Layer that computes without Keras' bookkeeping where it has no effect.

    Around each `call` Keras converts arguments, finds masks, dtypes and the
    training mode, and checks shapes. TensorFlow and JAX do so once, when they
    compile a model; torch every time, in 0.1 ms: for one image, a fifth of the
    time of a whole model. Subclasses outside this package keep the bookkeeping,
    which their `call` may rely on.
    """

    _is_ours = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        own = __name__.partition(".")[0]
        cls._is_ours = cls.__module__.partition(".")[0] == own

    def __call__(self, inputs: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        given = {k: v for k, v in kwargs.items() if v is not None}
        trains = isinstance(self, keras.layers.BatchNormalization)
        if not trains:
            given.pop("training", None)
        # Without it, Keras finds the mode of the model around the layer.
        expected = {"training"} if trains else set()
        if args or given.keys() != expected or not self._is_ours:
            return super().__call__(inputs, *args, **kwargs)
        if kernels.needs_no_bookkeeping(self, inputs):
            try:
                return self.call(inputs, **given)
            except RuntimeError:  # of a wrong shape, which Keras explains
                pass
        return super().__call__(inputs, **kwargs)
