"""Loss scaling in half precision, on several devices too."""

import keras
from keras import ops

from keras_resnext.kernels.generic import Tensor
from keras_resnext.training.strategy import sum_over_replicas


@keras.saving.register_keras_serializable(package="keras_resnext")
class LossScaleOptimizer(keras.optimizers.LossScaleOptimizer):
    """Keras' own, whose replicas agree on which steps to leave out.

    A step with infinite or undefined gradients is left out, and the scale of
    the loss halved. Keras asks one replica whether its share of the gradients
    is finite, or lets each worker decide for itself, and so takes the others'
    infinities in, or waits for ever for a worker that leaves the step out.
    `compile` wraps an optimizer in Keras' under "mixed_float16": wrap it in
    this one before.

    Args:
        inner_optimizer: The optimizer that steps.
        **kwargs: As Keras': `initial_scale`, `dynamic_growth_steps`, `name`.

    Example:
    ```python
    optimizer = keras_resnext.training.optimizers.SGD(0.1)
    optimizer = keras_resnext.training.optimizers.LossScaleOptimizer(optimizer)
    model.compile(optimizer, "sparse_categorical_crossentropy")
    ```
    """

    def check_finite(self, grads: list[Tensor]) -> Tensor:
        here = ops.logical_not(super().check_finite(grads))
        (replicas,) = sum_over_replicas([ops.cast(here, "float32")])
        return ops.equal(replicas, 0)
