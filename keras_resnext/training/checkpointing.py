"""Callback that saves checkpoints of a run."""

from typing import Any

import keras
import numpy as np

from keras_resnext.training import checkpoints
from keras_resnext.training.averaging import WeightAverage
from keras_resnext.training.run_directory import RunDirectory


class Checkpointing(keras.callbacks.Callback):
    """Callback that saves checkpoints of a run at regular intervals.

    If a recipe averages weights, the averages are measured and deployed; a
    checkpoint contains them beside the training weights.

    Args:
        directory: Directory of the run.
        steps: Steps of an epoch.
        save_steps: Steps between checkpoints.
        seed: Seed of all randomness.
        history: Rows of the epochs so far, which the trainer appends to.
        restored: The checkpoint that the run resumes from, if any.
        average: The average of the weights, if the recipe has one.
    """

    def __init__(
        self,
        directory: RunDirectory,
        steps: int,
        save_steps: int,
        seed: int,
        history: list[dict[str, Any]],
        restored: checkpoints.Restored | None,
        average: WeightAverage | None,
    ) -> None:
        super().__init__()
        self.directory, self.history = directory, history
        self.steps, self.save_steps, self.seed = steps, save_steps, seed
        self.restored, self.average = restored, average
        self.epoch = self.done = 0

    def begin(self, epoch: int, first_step: int) -> None:
        """Begin an epoch, or the rest of it."""
        self.epoch, self.done = epoch, first_step

    def on_train_batch_begin(
        self, batch: int, logs: dict | None = None
    ) -> None:
        if batch > 0:
            return
        if self.done and self.restored and self.restored.generators:
            checkpoints.set_generators(self.restored.generators)
        else:
            checkpoints.seed_generators(self.seed, self.epoch)

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        if batch == 0 and self.done and self.restored:
            self._sync()
            checkpoints.add_metrics(self.model, self.restored.metrics)
        self.done += 1
        finite = np.isfinite(float((logs or {}).get("loss", 0.0)))
        due = self.done % self.save_steps == 0
        # The last checkpoint of an epoch waits for the validation.
        if due and finite and self.done < self.steps:
            self.save()

    def save(self) -> None:
        """Save the current state of the run."""
        whole = self.done == self.steps
        self._sync()
        if self.average is not None:
            self.average.hide()
        checkpoints.save(
            self.directory.path,
            self.model,
            self.epoch * self.steps + self.done,
            {
                "epoch": self.epoch + whole,
                "first_step": 0 if whole else self.done,
                "history": self.history,
            },
            self.directory.writes,
            None if self.average is None else self.average.get_state(),
        )

    def _sync(self) -> None:
        """Copy the state of `fit` to the variables, which JAX needs."""
        if keras.backend.backend() == "jax":
            self.model.jax_state_sync()
