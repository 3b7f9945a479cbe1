"""Kernels for torch: its own, on permuted views.

Keras' images are channels last. torch's kernels take channels first, but a
permuted view of a channels-last tensor has torch's memory format
`channels_last`, so neither inputs nor outputs are copied.
"""

import ctypes
import os
import platform
from collections.abc import Callable
from typing import Any

import keras
import torch
import torch.nn.functional as F

from keras_resnext.kernels.generic import Tensor

_DTYPES = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


def _keep_freed_memory() -> None:
    """Let glibc keep freed buffers, instead of fetching new ones from Linux.

    By default a layer's buffer returns to the system as soon as it is free,
    and the next layer's arrives page by page: half of the time of a batch of
    32. Kept are up to 1 GiB at the end of the heap, and what lies before
    memory that is in use; settings of the environment take precedence.
    """
    set_by_user = "GLIBC_TUNABLES" in os.environ or any(
        name.startswith("MALLOC_") for name in os.environ
    )
    if platform.libc_ver()[0] == "glibc" and not set_by_user:
        mallopt = ctypes.CDLL(None).mallopt
        trim_threshold, mmap_max = -1, -4  # of malloc.h
        mallopt(mmap_max, 0)
        mallopt(trim_threshold, 1 << 30)


_keep_freed_memory()


def conv2d(
    x: Tensor,
    kernel: Tensor,
    strides: tuple[int, int],
    padding: tuple[int, int],
    dilation_rate: tuple[int, int],
    groups: int,
    data_format: str,
    bias: Tensor | None = None,
) -> Tensor:
    """See `generic.conv2d`."""
    x = _to_torch(x, data_format)
    if _is_pointwise(kernel, padding, groups):
        # A pointwise transposed convolution is equivalent, and takes the
        # kernel in Keras' order of axes; an ordinary one would transpose the
        # kernel and its gradient at every step.
        rows, columns = strides
        x = x[:, :, ::rows, ::columns]
        y = F.conv_transpose2d(x, kernel.permute(2, 3, 0, 1), bias)
    else:
        y = F.conv2d(
            x,
            kernel.permute(3, 2, 0, 1),
            bias,
            stride=strides,
            padding=padding,
            dilation=dilation_rate,
            groups=groups,
        )
    return _from_torch(y, data_format)


def batch_norm_training(
    x: Tensor,
    gamma: Tensor,
    beta: Tensor,
    epsilon: float,
    with_relu: bool,
    data_format: str,
) -> tuple[Tensor, Tensor, Tensor]:
    """See `generic.batch_norm_training`."""
    x = _to_torch(x, data_format)
    # With a momentum of one, torch writes the batch's own statistics here.
    mean = torch.zeros_like(gamma, requires_grad=False)
    variance = torch.ones_like(gamma, requires_grad=False)
    y = _batch_norm(x, gamma, beta, mean, variance, True, epsilon, with_relu)
    if x.numel() == x.shape[1]:
        # torch computes 0 / 0. A change in place would break autograd.
        variance = torch.zeros_like(variance)
    return _from_torch(y, data_format), mean, variance


def batch_norm_inference(
    x: Tensor,
    gamma: Tensor,
    beta: Tensor,
    mean: Tensor,
    variance: Tensor,
    epsilon: float,
    with_relu: bool,
    data_format: str,
) -> Tensor:
    """See `generic.batch_norm_inference`."""
    x = _to_torch(x, data_format)
    y = _batch_norm(x, gamma, beta, mean, variance, False, epsilon, with_relu)
    return _from_torch(y, data_format)


def max_pool2d(
    x: Tensor,
    pool_size: tuple[int, int],
    strides: tuple[int, int],
    padding: tuple[int, int],
    data_format: str,
    nonnegative: bool = False,
) -> Tensor:
    """See `generic.max_pool2d`."""
    y = F.max_pool2d(_to_torch(x, data_format), pool_size, strides, padding)
    return _from_torch(y, data_format)


def relu(x: Tensor) -> Tensor:
    """See `generic.relu`."""
    return torch.relu_(x)


relu_of_sum = relu


def gradient(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """See `generic.gradient`."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        (found,) = torch.autograd.grad(function(x).sum(), x)
    return found


def supports_jit() -> bool:
    """See `generic.supports_jit`."""
    return True


def needs_no_bookkeeping(layer: keras.layers.Layer, inputs: Any) -> bool:
    """See `generic.needs_no_bookkeeping`."""
    dtype = layer.compute_dtype
    variable = getattr(layer, "kernel", getattr(layer, "moving_mean", None))
    return (
        layer.built
        and layer.variable_dtype == dtype
        # Without a scope around it that casts the variables.
        and (
            variable is None
            or _is_plain(keras.ops.convert_to_tensor(variable), dtype)
        )
        and layer.activity_regularizer is None
        and layer.quantization_mode is None
        and layer._remat_mode is None
        and not (layer._forward_hooks or layer._forward_pre_hooks)
        and not (layer._backward_hooks or layer._backward_pre_hooks)
        and not torch.nn.modules.module._has_any_global_hook()
        and all(
            # Kernels take other ranks than Keras, such as one image.
            _is_plain(x, dtype) and x.ndim == 4
            for x in (inputs if isinstance(inputs, list) else [inputs])
        )
    )


def frees_tensors() -> bool:
    """See `generic.frees_tensors`."""
    return True


def _is_plain(x: Any, dtype: str) -> bool:
    """Return whether `x` is a tensor of a dtype, without a mask of Keras."""
    return (
        type(x) in (torch.Tensor, torch.nn.Parameter)
        and x.dtype is _DTYPES.get(dtype)
        and not hasattr(x, "_keras_mask")
    )


def _batch_norm(
    x: Tensor,
    gamma: Tensor,
    beta: Tensor,
    mean: Tensor,
    variance: Tensor,
    training: bool,
    epsilon: float,
    with_relu: bool,
) -> Tensor:
    # Not torch.nn.functional's, which refuses a batch of one 1x1 image.
    y = torch.batch_norm(
        x,
        gamma,
        beta,
        mean,
        variance,
        training,
        1.0,
        epsilon,
        torch.backends.cudnn.enabled,
    )
    # Before it is a view: changing views in place is slow under autograd.
    return torch.relu_(y) if with_relu else y


def _is_pointwise(
    kernel: Tensor, padding: tuple[int, int], groups: int
) -> bool:
    return (
        tuple(kernel.shape[:2]) == (1, 1)
        and padding == (0, 0)
        and groups == 1
        # Compilers and exporters optimize ordinary convolutions better.
        and not torch.compiler.is_compiling()
    )


def _to_torch(x: Tensor, data_format: str) -> Tensor:
    return x if data_format == "channels_first" else x.permute(0, 3, 1, 2)


def _from_torch(x: Tensor, data_format: str) -> Tensor:
    return x if data_format == "channels_first" else x.permute(0, 2, 3, 1)
