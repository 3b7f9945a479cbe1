"""Backend-specific ops of the layers.

`kernels` provides the functions of `kernels.generic`, which documents them;
the module of the backend in use replaces those that it computes faster.
Everything else in the package is plain Keras.
"""

import importlib
import types
from typing import TYPE_CHECKING

import keras

from keras_resnext.kernels import generic

_TUNED = ("tensorflow", "jax", "torch")


def _for_backend(backend: str) -> types.SimpleNamespace:
    own: types.ModuleType = generic
    if backend in _TUNED:
        own = importlib.import_module(f"{__name__}.{backend}")
    return types.SimpleNamespace(**(vars(generic) | vars(own)))


if TYPE_CHECKING:
    kernels = generic
else:
    kernels = _for_backend(keras.config.backend())
