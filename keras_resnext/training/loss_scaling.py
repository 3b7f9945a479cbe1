"""Loss scaling in half precision, on one or several devices."""

import keras
from keras import ops

from keras_resnext.kernels.generic import Tensor
from keras_resnext.training.strategy import sum_over_replicas


@keras.saving.register_keras_serializable(package="keras_resnext")
class LossScaleOptimizer(keras.optimizers.LossScaleOptimizer):
    """Loss scaling as in Keras, with replicas that skip the same steps.

    A step with infinite or undefined gradients is skipped, and the loss scale
    halved. Keras' optimizer checks the gradients of only one replica, or each
    worker's separately, so infinities of another replica enter the weights, or
    a worker that skips a step blocks the others. Under "mixed_float16",
    `compile` wraps other optimizers in Keras': wrap them in this one first.

    Args:
        inner_optimizer: The optimizer that steps.
        **kwargs: As Keras': `initial_scale`, `dynamic_growth_steps`, `name`.

    Example:
    >>> optimizers = keras_resnext.training.optimizers
    >>> optimizer = optimizers.LossScaleOptimizer(optimizers.SGD(0.1))
    >>> model.compile(optimizer, "sparse_categorical_crossentropy")
    """

    def check_finite(self, grads: list[Tensor]) -> Tensor:
        here = ops.logical_not(super().check_finite(grads))
        (replicas,) = sum_over_replicas([ops.cast(here, "float32")])
        return ops.equal(replicas, 0)
