"""Loss scaling in half precision, on several devices too."""

import keras
from keras import ops

from keras_resnext.kernels.generic import Tensor
from keras_resnext.training.strategy import sum_over_replicas


@keras.saving.register_keras_serializable(package="keras_resnext")
class LossScaleOptimizer(keras.optimizers.LossScaleOptimizer):
    """Keras' own, whose replicas agree on which steps to leave out.

    A step with infinite or undefined gradients is skipped, and the scale of
    the loss halved. Keras' optimizer tests the gradients of one replica only,
    or lets each worker decide for itself, so that infinities of another
    replica enter the weights, or a worker that skips the step blocks the
    others. `compile` wraps an optimizer in Keras' under "mixed_float16": wrap
    it in this one before.

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
