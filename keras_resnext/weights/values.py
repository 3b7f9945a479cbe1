"""Checks of the numbers of a checkpoint, the same for every format."""

import numpy as np

from keras_resnext.weights.files import CheckpointError

FLOATS = ("float16", "bfloat16", "float32", "float64")
VARIANCE = "moving_variance"


def check_dtype(dtype: np.dtype, variable: str, source: str) -> None:
    """Refuse a dtype that is not floating-point.

    Args:
        dtype: Dtype in the file.
        variable: Variable that the numbers are for, `"kernel of 'conv1'"`.
        source: Place of the numbers in the file.

    Raises:
        CheckpointError: If the dtype is of integers, bools or complex numbers.
    """
    if dtype.name not in FLOATS:
        raise CheckpointError(
            f"The {variable} needs floating-point numbers, but {source} "
            f"contains {dtype}. Use a checkpoint of {', '.join(FLOATS)}."
        )


def check_values(value: np.ndarray, variable: str, source: str) -> None:
    """Refuse NaN, infinity and negative variances.

    Args:
        value: Numbers of a floating-point dtype.
        variable: Variable that the numbers are for, `"kernel of 'conv1'"`.
        source: Place of the numbers in the file.

    Raises:
        CheckpointError: If a number is NaN or infinite, or if a moving
            variance is negative.
    """
    if not np.isfinite(value).all():
        fault = "NaN or infinity"
    elif variable.startswith(VARIANCE) and (value < 0).any():
        fault = "negative numbers"
    else:
        return
    raise CheckpointError(
        f"The {variable} contains {fault} in {source}. The file is damaged or "
        "its training diverged; use another checkpoint."
    )
