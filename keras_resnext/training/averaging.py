"""Averages of a model's weights over the steps of training."""

from typing import Any

import keras
import numpy as np

from keras_resnext.checks import check_share


class WeightAverage(keras.callbacks.Callback):
    """Exponential moving average of all weights, batch statistics included.

    Training continues with the weights themselves. Validation, callbacks at the
    end of an epoch and the model that `fit` returns use the averages, as
    torchvision's `ExponentialMovingAverage` does with `use_buffers=True`.
    Keras' own `use_ema` averages trainable weights only and leaves them with
    moving statistics that belong to other weights.

    Place the callback before callbacks that save the model.

    Args:
        decay: Weight of the old average in an update, from 0 to below 1.
        steps: Training steps between two updates. The first update follows
            the first step.
        warmup_steps: Steps at the start of training in which updates copy the
            weights.

    Raises:
        ValueError: If `decay` is out of range, or `steps` is below 1.

    Example:
    >>> average = WeightAverage(decay=0.999, steps=32, warmup_steps=500)
    >>> model = keras_resnext.ResNeXt23s_4x32d(weights=None)
    >>> model.compile("sgd", "sparse_categorical_crossentropy")
    >>> x, y = np.zeros((4, 32, 32, 3)), np.arange(4)
    >>> model.fit(x, y, epochs=2, callbacks=[average])
    """

    def __init__(
        self, decay: float, steps: int = 1, warmup_steps: int = 0
    ) -> None:
        super().__init__()
        check_share("decay", decay)
        if steps < 1:
            raise ValueError(f"`steps` must be at least 1. Received: {steps!r}")
        self.decay = decay
        self.steps = steps
        self.warmup_steps = warmup_steps
        self._averages: list[np.ndarray] = []
        # The weights of training, while the model holds the averages.
        self._weights: list[np.ndarray] = []
        self._step, self._due, self._copies = 0, 1, True
        self._batch = -1

    def on_train_begin(self, logs: dict | None = None) -> None:
        self.hide()

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self.hide()
        self._batch = -1

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        # With `steps_per_execution` there are several steps per call.
        self._step += batch - self._batch
        self._batch = batch
        if self._step < self._due:
            return
        if keras.backend.backend() == "jax":
            self.model.jax_state_sync()
        values = self._read()
        if self._copies:
            self._averages = values
        for average, value in zip(self._averages, values, strict=True):
            if average.dtype.kind == "f":
                average += (value - average) * (1 - self.decay)
            else:
                average[...] = value
        # The next update replaces averages from the warm-up.
        self._copies = self._step <= self.warmup_steps
        self._due = self._step + self.steps

    def on_test_begin(self, logs: dict | None = None) -> None:
        self.show()

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        self.show()

    def show(self) -> None:
        """Put the averages into the model, unless it already has them."""
        if self._averages and not self._weights:
            self._weights = self._read()
            self._assign(self._averages)

    def hide(self) -> None:
        """Put the weights of training back into the model."""
        if self._weights:
            self._assign(self._weights)
            self._weights = []

    def get_state(self) -> dict[str, np.ndarray]:
        """Return the state for `set_state`, as named arrays."""
        place = (self._step, self._due, self._copies)
        arrays = {f"{i:05d}": value for i, value in enumerate(self._averages)}
        return {"place": np.array(place, np.int64), **arrays}

    def set_state(self, state: dict[str, np.ndarray]) -> None:
        """Restore the state that `get_state` returned.

        Args:
            state: Named arrays.
        """
        self._step, self._due, copies = map(int, state["place"])
        self._copies = bool(copies)
        names = sorted(name for name in state if name != "place")
        self._averages = [np.array(state[name]) for name in names]

    def _read(self) -> list[np.ndarray]:
        return [_array(variable) for variable in self.model.weights]

    def _assign(self, values: list[np.ndarray]) -> None:
        for variable, value in zip(self.model.weights, values, strict=True):
            # A copy: on JAX's CPU a variable may share an array's memory,
            # which its next step would write to.
            variable.assign(keras.ops.copy(value))


def _array(variable: Any) -> np.ndarray:
    """Copy a variable's value, floats in at least float32."""
    value = keras.ops.convert_to_numpy(variable.value)
    if keras.backend.is_float_dtype(variable.dtype):
        return np.array(value, np.promote_types(value.dtype, np.float32))
    return np.array(value)
