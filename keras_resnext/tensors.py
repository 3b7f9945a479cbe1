"""Checks of pixels, and arithmetic on tensors of any framework.

Tensors keep their framework, whatever Keras' backend: TensorFlow inside
`tf.data`, torch inside a `DataLoader`, JAX under `jax.jit`. The caller has
imported the framework of such a tensor, so nothing is imported here.
"""

import sys
import warnings
from typing import Any

import keras
import numpy as np
from PIL import Image

FRAMEWORKS = ("tensorflow", "jax", "torch")


def framework_of(x: Any) -> str | None:
    """Return the framework of a tensor.

    Returns:
        `"keras"` for a symbolic tensor of Keras, a name of `FRAMEWORKS` for
        an eager or traced tensor, `None` for anything else.
    """
    if isinstance(x, keras.KerasTensor):
        return "keras"
    if hasattr(x, "dtype") and hasattr(x, "shape"):
        for base in type(x).__mro__:
            package = base.__module__.partition(".")[0]
            if package in FRAMEWORKS:
                return package
    return None


def cast(x: Any, dtype: str) -> Any:
    """Cast an array or a tensor of any framework, within its framework."""
    framework = framework_of(x)  # no `match`: AutoGraph can't convert it
    if framework == "keras":
        return keras.ops.cast(x, dtype)
    if framework == "tensorflow":
        return sys.modules["tensorflow"].cast(x, dtype)
    if framework == "torch":
        return x.to(getattr(sys.modules["torch"], dtype))
    return x.astype(dtype)


def constant(value: np.ndarray, like: Any) -> Any:
    """Convert `value` so that it can be added to the tensor `like`."""
    if framework_of(like) == "torch":
        return sys.modules["torch"].as_tensor(value, device=like.device)
    return value


def as_array(x: Any) -> np.ndarray:
    """Convert a PIL image, a list or another array to a NumPy array.

    Raises:
        TypeError: If it can't be converted.
        ValueError: If a PIL image has another mode than RGB.
    """
    if isinstance(x, Image.Image) and x.mode != "RGB":
        raise ValueError(
            f"`x` must be a PIL image of mode 'RGB'. Received mode: {x.mode!r}."
            " Call `x.convert('RGB')` first."
        )
    try:
        return np.asarray(x)
    # Frameworks raise errors of their own, as for lists of symbolic tensors.
    except Exception as error:
        raise TypeError(
            "`x` must be one array, one tensor or a list of equally shaped "
            f"images. Received: {type(x).__name__}"
        ) from error


def check_dtype(x: Any) -> None:
    """Check that a tensor is dense and contains numbers.

    Raises:
        TypeError: If not.
    """
    name = getattr(x.dtype, "name", None) or str(x.dtype).rpartition(".")[2]
    if not name.startswith(("int", "uint", "float", "bfloat")):
        raise TypeError(
            "`x` must contain pixels of an integer or float dtype. Received "
            f"dtype: {name}"
        )
    sparse = any(getattr(x, flag, False) for flag in ("sparse", "is_sparse"))
    if sparse or type(x).__name__ in ("SparseTensor", "BCOO", "BCSR"):
        raise TypeError("`x` must be a dense tensor. Received a sparse one.")


def count_channels(
    shape: tuple[int | None, ...], data_format: str
) -> int | None:
    """Return the number of channels of images, `None` if unknown.

    Raises:
        ValueError: If it is not the shape of RGB or gray images.
    """
    if len(shape) not in (3, 4):
        hint = ""
        if len(shape) == 2:
            hint = ". A gray image needs an axis of channels: x[..., None]"
        raise ValueError(
            "`x` must be an image of rank 3 or a batch of rank 4. Received "
            f"shape: {shape}{hint}"
        )
    channels, other = shape[-1], shape[-3]
    if data_format == "channels_first":
        channels, other = other, channels
    if channels in (1, 3, None):
        return channels
    hint = " Is `data_format` correct?" if other in (1, 3) else ""
    raise ValueError(
        "`x` must have 3 channels (RGB) or 1 (gray) with "
        f"data_format='{data_format}'. Received shape: {shape}.{hint}"
    )


def check_values(x: np.ndarray) -> None:
    """Warn if an array already looks normalized.

    Raises:
        ValueError: If it contains NaN or infinite values.
    """
    if not x.size:
        return
    low, high = float(x.min()), float(x.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise ValueError(
            f"`x` contains {np.count_nonzero(~np.isfinite(x))} NaN or infinite "
            f"values of {x.size}. Pixels must be finite, in [0, 255]."
        )
    is_float = keras.backend.is_float_dtype(x.dtype.name)
    if low < 0:
        looks = "normalized"
    elif is_float and 0 < high <= 1:
        looks = "divided by 255"
    else:
        return
    warnings.warn(
        f"`x` is in [{low:.4g}, {high:.4g}] and looks as if it had already "
        f"been {looks}. `preprocess_input` expects pixels in [0, 255]: call "
        "it once, on the original pixels.",
        UserWarning,
        stacklevel=3,
    )
