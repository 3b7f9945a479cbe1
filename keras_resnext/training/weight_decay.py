"""Base class of SGD and LAMB: coupled weight decay, and replicas."""

import re
from collections.abc import Sequence
from typing import Any
from typing import TypeAlias

import keras
from keras import ops

from keras_resnext.checks import check_amount
from keras_resnext.kernels import kernels
from keras_resnext.kernels.generic import Tensor
from keras_resnext.training.strategy import replicas_in_sync
from keras_resnext.training.strategy import sum_over_replicas

Rate: TypeAlias = float | keras.optimizers.schedules.LearningRateSchedule


class Coupled(keras.optimizers.Optimizer):
    """Optimizer with weight decay as part of the gradient or update."""

    def __init__(
        self,
        learning_rate: Rate,
        exclude_names: Sequence[str],
        exclude_rank: int,
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate=learning_rate, **kwargs)
        if self.weight_decay is not None:
            check_amount("weight_decay", self.weight_decay)
        if isinstance(exclude_names, str):
            raise ValueError(
                "`exclude_names` must be a list of regular expressions. "
                f"Received: {exclude_names!r}"
            )
        self.exclude_names = list(exclude_names)
        self.exclude_rank = exclude_rank

    def build(self, variables: list[keras.Variable]) -> None:
        if self.built:
            return
        super().build(variables)
        self._decayed = [
            bool(self.weight_decay)
            and self._use_weight_decay(variable)
            and len(variable.shape) > self.exclude_rank
            and not any(re.search(n, variable.path) for n in self.exclude_names)
            for variable in variables
        ]

    def _decay(self, variable: Any) -> Tensor | None:
        """Return the decay term of a variable, `None` if it has none."""
        if not self._decayed[self._get_variable_index(variable)]:
            return None
        value = ops.convert_to_tensor(variable)
        return value * ops.cast(self.weight_decay, value.dtype)

    def _apply_weight_decay(self, variables: list[keras.Variable]) -> None:
        """Do nothing: `update_step` applies the decay."""

    def _clip_gradients(self, gradients: list[Tensor]) -> list[Tensor]:
        """Clip the gradients of the whole batch, not a replica's share."""
        if not (self.clipnorm or self.global_clipnorm or self.clipvalue):
            return gradients
        clipped = super()._clip_gradients(sum_over_replicas(gradients))
        # Keras sums them over the replicas again.
        return [gradient / replicas_in_sync() for gradient in clipped]

    def _backend_apply_gradients(
        self, gradients: list[Tensor], variables: list[keras.Variable]
    ) -> None:
        """Take a step, or accumulate gradients for a later step.

        As in Keras, but with branches in which replicas can communicate:
        Keras' raise an error if there are several.
        """
        steps = self.gradient_accumulation_steps
        often = self.ema_overwrite_frequency if self.use_ema else None
        if replicas_in_sync() == 1 or not (steps or often):
            super()._backend_apply_gradients(gradients, variables)
            return

        def step(gradients: list[Tensor]) -> None:
            gradients = self._clip_gradients(gradients)
            self._backend_update_step(gradients, variables, self.learning_rate)

        if steps:
            sums = [
                self._accumulated_gradients[self._get_variable_index(variable)]
                for variable in variables
            ]

            def last(gradients: list[Tensor]) -> None:
                pairs = zip(gradients, sums, strict=True)
                step([(gradient + sum_) / steps for gradient, sum_ in pairs])
                self._backend_reset_gradient_accumulators()

            kernels.cond_over_replicas(
                ops.equal((self._iterations + 1) % steps, 0),
                last,
                lambda g: self._backend_increment_gradient_accumulators(
                    g, sums
                ),
                (gradients,),
            )
        else:
            step(gradients)
        if self.use_ema:
            variables = self._trainable_variables
            self._update_model_variables_moving_average(variables)
        if often:
            kernels.cond_over_replicas(
                ops.equal((self.iterations + 1) % often, 0),
                lambda: self._replace_by_averages(variables),
                lambda: None,
                (),
            )

    def _replace_by_averages(self, variables: list[keras.Variable]) -> None:
        averages = self._model_variables_moving_average
        for variable, average in zip(variables, averages, strict=True):
            if average is not None:
                self.assign(variable, average)

    def finalize_variable_values(self, variables: list[keras.Variable]) -> None:
        super().finalize_variable_values(variables)
        if self.use_ema and keras.backend.backend() == "jax":
            # The weights now share their averages' memory, which the next
            # step would donate twice.
            for variable in variables:
                variable.assign(ops.copy(variable.value))

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "exclude_names": self.exclude_names,
            "exclude_rank": self.exclude_rank,
        }
