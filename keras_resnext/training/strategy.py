"""Training on several devices."""

from typing import Any

import keras

from keras_resnext.kernels.generic import Tensor


def sum_over_replicas(gradients: list[Tensor]) -> list[Tensor]:
    """Adds up the gradients of the replicas of a `tf.distribute` strategy.

    Elsewhere there is one gradient, of the whole batch: it is returned.

    Args:
        gradients: A replica's gradients, each of any shape and dtype.

    Returns:
        The sums, of the same shapes and dtypes, on each replica.
    """
    replicas = _replica_context()
    if replicas is None or replicas.num_replicas_in_sync == 1:
        return gradients
    return replicas.all_reduce("SUM", gradients)


def replicas_in_sync() -> int:
    """How many replicas of a network compute a step together."""
    replicas = _replica_context()
    return 1 if replicas is None else replicas.num_replicas_in_sync


def _replica_context() -> Any:
    if keras.backend.backend() != "tensorflow":
        return None
    import tensorflow as tf

    return tf.distribute.get_replica_context()
