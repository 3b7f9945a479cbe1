"""The arithmetic of the layers that meet the machine.

One module per backend, each with the same thirteen functions; `kernels.generic`
says what they mean. Everything else in the package is plain Keras.
"""

import importlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any
from typing import Protocol
from typing import cast

import keras

from keras_resnext.kernels.generic import Tensor


class Kernels(Protocol):
    """What each module of this folder provides."""

    def conv2d(
        self,
        x: Tensor,
        kernel: Tensor,
        strides: tuple[int, int],
        padding: tuple[int, int],
        dilation_rate: tuple[int, int],
        groups: int,
        data_format: str,
        bias: Tensor | None = None,
    ) -> Tensor: ...

    def batch_norm_training(
        self,
        x: Tensor,
        gamma: Tensor,
        beta: Tensor,
        epsilon: float,
        with_relu: bool,
        data_format: str,
    ) -> tuple[Tensor, Tensor, Tensor]: ...

    def batch_norm_inference(
        self,
        x: Tensor,
        gamma: Tensor,
        beta: Tensor,
        mean: Tensor,
        variance: Tensor,
        epsilon: float,
        with_relu: bool,
        data_format: str,
    ) -> Tensor: ...

    def max_pool2d(
        self,
        x: Tensor,
        pool_size: tuple[int, int],
        strides: tuple[int, int],
        padding: tuple[int, int],
        data_format: str,
        nonnegative: bool = False,
    ) -> Tensor: ...

    def largest(self, x: Tensor, axis: int) -> Tensor: ...

    def relu(self, x: Tensor) -> Tensor: ...

    def relu_of_sum(self, x: Tensor) -> Tensor: ...

    def gradient(
        self, function: Callable[[Tensor], Tensor], x: Tensor
    ) -> Tensor: ...

    def replicas_in_sync(self) -> int: ...

    def sum_over_replicas(self, values: list[Tensor]) -> list[Tensor]: ...

    def cond_over_replicas(
        self,
        predicate: Tensor,
        on_true: Callable[..., None],
        on_false: Callable[..., None],
        arguments: tuple[Any, ...],
    ) -> None: ...

    def portable(self) -> AbstractContextManager[None]: ...

    def supports_jit(self) -> bool: ...


_TUNED = ("tensorflow", "jax", "torch")


def _for_backend(backend: str) -> Kernels:
    name = backend if backend in _TUNED else "generic"
    module = importlib.import_module(f"{__name__}.{name}")
    return cast(Kernels, module)


kernels = _for_backend(keras.config.backend())
