"""SGD and LAMB with the semantics of PyTorch and timm.

Keras' own differ. Its weight decay bypasses the momentum, so at a momentum of
0.9 it decays a tenth as much; its velocity includes the learning rate of each
step, so a drop takes about ten steps to take effect; its LAMB leaves the decay
out of the update; and under `tf.distribute` each replica clips its own
gradients before they are summed.
"""

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_resnext.checks import check_amount
from keras_resnext.checks import check_share
from keras_resnext.kernels.generic import Tensor
from keras_resnext.training.loss_scaling import (
    LossScaleOptimizer as LossScaleOptimizer,
)
from keras_resnext.training.weight_decay import Coupled
from keras_resnext.training.weight_decay import Rate


@keras.saving.register_keras_serializable(package="keras_resnext")
class SGD(Coupled):
    """Stochastic gradient descent with PyTorch's update.

    With the gradient g of a weight w, the momentum m, the dampening d and the
    decay λ:

        g ← g + λ·w
        v ← m·v + (1 - d)·g          (v ← g in the first step)
        w ← w - lr·v                 (w - lr·(g + m·v) with `nesterov`)

    Weight decay is coupled (an L2 penalty), and the learning rate is not
    folded into the velocity v: a drop takes effect at once.

    Args:
        learning_rate: A float, or a Keras schedule.
        momentum: The momentum m, from 0 to below 1.
        nesterov: Whether to use Nesterov momentum; needs momentum and no
            dampening.
        dampening: The dampening d, from 0 to below 1.
        weight_decay: λ, an L2 penalty of λ/2 on each weight; None for none.
        exclude_names: Regular expressions. Variables whose `path` contains a
            match don't decay.
        exclude_rank: Variables of this rank or below don't decay; 1 excludes
            biases and normalization. By default all decay, as in the paper.
        name: The optimizer's name.
        **kwargs: Arguments of `keras.optimizers.Optimizer`: `clipnorm`,
            `global_clipnorm`, `clipvalue`, `use_ema`, `ema_momentum`,
            `ema_overwrite_frequency`, `loss_scale_factor`,
            `gradient_accumulation_steps`. Gradients are summed over replicas,
            then clipped, before decay is added.

    Raises:
        ValueError: If a number is out of its range.

    References:
        [The paper's code](https://github.com/facebookresearch/ResNeXt)
        (Nesterov, momentum 0.9, decay 1e-4);
        [`torch.optim.SGD`](https://docs.pytorch.org/docs/stable/generated/torch.optim.SGD.html).

    Example:
    >>> optimizer = keras_resnext.training.optimizers.SGD(
    ...     0.1, momentum=0.9, nesterov=True, weight_decay=1e-4
    ... )
    >>> model.compile(optimizer, "sparse_categorical_crossentropy")
    """

    def __init__(
        self,
        learning_rate: Rate = 0.1,
        momentum: float = 0.0,
        nesterov: bool = False,
        dampening: float = 0.0,
        weight_decay: float | None = None,
        exclude_names: Sequence[str] = (),
        exclude_rank: int = -1,
        name: str = "SGD",
        **kwargs: Any,
    ) -> None:
        super().__init__(
            learning_rate,
            exclude_names,
            exclude_rank,
            weight_decay=weight_decay,
            name=name,
            **kwargs,
        )
        check_share("momentum", momentum)
        check_share("dampening", dampening)
        if nesterov and (not momentum or dampening):
            raise ValueError(
                "`nesterov` needs a momentum and no dampening. Received: "
                f"momentum={momentum}, dampening={dampening}"
            )
        self.momentum = momentum
        self.nesterov = nesterov
        self.dampening = dampening

    def build(self, variables: list[keras.Variable]) -> None:
        if self.built:
            return
        super().build(variables)
        if self.momentum:
            self.velocities = self.add_optimizer_variables(
                variables, "velocity"
            )

    def update_step(
        self, gradient: Tensor, variable: Any, learning_rate: Tensor
    ) -> None:
        step = ops.cast(gradient, variable.dtype)
        decay = self._decay(variable)
        if decay is not None:
            step = step + decay
        if self.momentum:
            velocity = self.velocities[self._get_variable_index(variable)]
            kept = velocity * self.momentum
            if self.dampening:
                first = ops.equal(self.iterations, 0)
                share = ops.where(first, 1.0, 1.0 - self.dampening)
                new = kept + step * ops.cast(share, step.dtype)
            else:
                new = kept + step
            self.assign(velocity, new)
            step = step + new * self.momentum if self.nesterov else new
        rate = ops.cast(learning_rate, step.dtype)
        self.assign_sub(variable, step * rate)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "momentum": self.momentum,
            "nesterov": self.nesterov,
            "dampening": self.dampening,
        }


@keras.saving.register_keras_serializable(package="keras_resnext")
class LAMB(Coupled):
    """Layer-wise adaptive moments for large batches, with timm's update.

    Adam's step u, with the decay λ added, is scaled to the norm of the weight
    that it changes:

        m ← β₁·m + (1 - β₁)·g
        v ← β₂·v + (1 - β₂)·g²
        u = (m / (1 - β₁ᵗ)) / (√(v / (1 - β₂ᵗ)) + ε) + λ·w
        w ← w - lr·u·‖w‖/‖u‖

    Steps are not scaled if their variable does not decay or a norm is 0.

    Args:
        learning_rate: A float, or a Keras schedule.
        beta_1: β₁, from 0 to below 1.
        beta_2: β₂, from 0 to below 1.
        epsilon: ε, which keeps the divisor above zero.
        weight_decay: λ; None for none.
        exclude_names: Regular expressions. Variables whose `path` contains a
            match neither decay nor are scaled.
        exclude_rank: Variables of this rank or below neither decay nor are
            scaled. By default these are biases and normalization.
        global_clipnorm: Maximum norm of all gradients together, to which they
            are scaled down; None for no clipping.
        name: The optimizer's name.
        **kwargs: Arguments of `keras.optimizers.Optimizer`, as for `SGD`.

    Raises:
        ValueError: If a number is out of its range.

    References:
        [You et al. 2019](https://arxiv.org/abs/1904.00962);
        [Wightman et al. 2021](https://arxiv.org/abs/2110.00476) (recipes A1,
        A2 and A3).

    Example:
    >>> optimizer = keras_resnext.training.optimizers.LAMB(
    ...     5e-3, weight_decay=0.02
    ... )
    >>> model.compile(optimizer, "binary_crossentropy")
    """

    def __init__(
        self,
        learning_rate: Rate = 5e-3,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-6,
        weight_decay: float | None = 0.01,
        exclude_names: Sequence[str] = (),
        exclude_rank: int = 1,
        global_clipnorm: float | None = 1.0,
        name: str = "LAMB",
        **kwargs: Any,
    ) -> None:
        super().__init__(
            learning_rate,
            exclude_names,
            exclude_rank,
            weight_decay=weight_decay,
            global_clipnorm=global_clipnorm,
            name=name,
            **kwargs,
        )
        check_share("beta_1", beta_1)
        check_share("beta_2", beta_2)
        check_amount("epsilon", epsilon)
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon

    def build(self, variables: list[keras.Variable]) -> None:
        if self.built:
            return
        super().build(variables)
        self.means, self.variances = self.add_optimizer_variables(
            variables, ["mean", "variance"]
        )

    def update_step(
        self, gradient: Tensor, variable: Any, learning_rate: Tensor
    ) -> None:
        index = self._get_variable_index(variable)
        gradient = ops.cast(gradient, variable.dtype)
        time = ops.cast(self.iterations + 1, gradient.dtype)

        def average(total: Any, value: Tensor, beta: float) -> Tensor:
            """Update an average, and return it with bias correction."""
            new = total * beta + value * (1 - beta)
            self.assign(total, new)
            # 1 - beta ** time, without loss of float32 digits
            rest = -ops.expm1(time * (math.log(beta) if beta else -math.inf))
            return new / rest

        mean = average(self.means[index], gradient, self.beta_1)
        square = ops.square(gradient)
        variance = average(self.variances[index], square, self.beta_2)
        update = mean / (ops.sqrt(variance) + self.epsilon)
        decay = self._decay(variable)
        if decay is not None:
            update = update + decay
            update = update * _trust(ops.convert_to_tensor(variable), update)
        rate = ops.cast(learning_rate, update.dtype)
        self.assign_sub(variable, update * rate)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "beta_1": self.beta_1,
            "beta_2": self.beta_2,
            "epsilon": self.epsilon,
        }


def _trust(weight: Tensor, update: Tensor) -> Tensor:
    norm, size = _norm(weight), _norm(update)
    both = ops.logical_and(norm > 0, size > 0)
    return ops.where(both, norm / ops.where(both, size, 1), 1)


def _norm(value: Tensor) -> Tensor:
    return ops.sqrt(ops.sum(ops.square(value)))
