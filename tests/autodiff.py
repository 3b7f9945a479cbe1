"""Gradients by the active backend's own differentiation."""

from collections.abc import Callable
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np


def gradients(
    function: Callable[..., tuple[Any, ...]], *arrays: np.ndarray
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Call a function of tensors, compiled where the backend compiles.

    Args:
        function: Returns a tuple of tensors, of which the first is a scalar.
        *arrays: Its arguments.

    Returns:
        What the function returned, and the gradient of the scalar with
        respect to each argument.
    """
    run = {"tensorflow": _tensorflow, "jax": _jax, "torch": _torch}
    results, slopes = run[keras.config.backend()](function, arrays)
    return _numpy(results), _numpy(slopes)


def _numpy(tensors: Any) -> list[np.ndarray]:
    return [keras.ops.convert_to_numpy(tensor) for tensor in tensors]


def _tensorflow(function: Callable, arrays: Sequence[np.ndarray]) -> tuple:
    import tensorflow as tf

    @tf.function(autograph=False)
    def run(*tensors: Any) -> tuple:
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            results = function(*tensors)
        return results, tape.gradient(results[0], tensors)

    return run(*[tf.constant(array) for array in arrays])


def _jax(function: Callable, arrays: Sequence[np.ndarray]) -> tuple:
    import jax

    def scalar_and_all(tensors: Any) -> tuple:
        results = function(*tensors)
        return results[0], results

    run = jax.jit(jax.value_and_grad(scalar_and_all, has_aux=True))
    (_, results), slopes = run(arrays)
    return results, slopes


def _torch(function: Callable, arrays: Sequence[np.ndarray]) -> tuple:
    import torch

    tensors = [torch.tensor(array, requires_grad=True) for array in arrays]
    results = function(*tensors)
    slopes = torch.autograd.grad(results[0], tensors)
    return [result.detach() for result in results], slopes
