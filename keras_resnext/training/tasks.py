"""Tasks: the batches, loss and measures that a `Trainer` uses."""

from collections.abc import Callable
from collections.abc import Mapping
from typing import TYPE_CHECKING
from typing import Any
from typing import Protocol

import keras

from keras_resnext.data.datasets import Dataset
from keras_resnext.training.recipe import Recipe
from keras_resnext.training.strategy import Strategy

if TYPE_CHECKING:
    import tensorflow as tf

# Makes a model whose output has the given activation, `None` for logits.
Build = Callable[[str | None], keras.Model]


class Task(Protocol):
    """Interface between a `Trainer` and a task, such as `Classification`.

    Args:
        measure: Name of the measure in the history, of which more is better;
            for validation images `val_<measure>`.
        title: Title of the measure in plots.
        optimizer_options: Arguments of the optimizer besides the recipe's.
    """

    measure: str
    title: str
    optimizer_options: Mapping[str, Any]

    def compile(
        self,
        model: keras.Model,
        recipe: Recipe,
        optimizer: keras.optimizers.Optimizer,
    ) -> None:
        """Compile a model with loss and metrics."""

    def train_batches(
        self,
        dataset: Dataset,
        recipe: Recipe,
        channels: int,
        **position: Any,
    ) -> "tf.data.Dataset":
        """Return the batches of an epoch.

        Args:
            dataset: The dataset.
            recipe: The recipe.
            channels: Number of channels of the model's images.
            **position: `batch_size`, `seed`, `epoch`, `first_step`, `worker`
                and `workers`, as in `keras_resnext.data.train_batches`.
        """

    def evaluate(
        self,
        model: keras.Model,
        dataset: Dataset,
        recipe: Recipe,
        split: str,
        batch_size: int,
        strategy: Strategy,
        callback: keras.callbacks.Callback,
    ) -> dict[str, float]:
        """Measure a model on a split, and return measures by name."""

    def deployed(self, build: Build) -> keras.Model:
        """Return the model for inference, of the same weights."""

    def text(self, row: Mapping[str, Any]) -> str:
        """Return the measures of an epoch as text."""


class Classification:
    """Classification of images: cross-entropy and accuracy."""

    measure = "accuracy"
    title = "Accuracy"
    optimizer_options: Mapping[str, Any] = {}

    def compile(
        self,
        model: keras.Model,
        recipe: Recipe,
        optimizer: keras.optimizers.Optimizer,
    ) -> None:
        """Compile a model that returns logits with the recipe's loss."""
        model.compile(
            optimizer,
            recipe.make_loss(),
            weighted_metrics=[
                keras.metrics.CategoricalAccuracy(name="accuracy"),
                keras.metrics.CategoricalCrossentropy(
                    from_logits=True, name="cross_entropy"
                ),
            ],
        )

    def train_batches(
        self,
        dataset: Dataset,
        recipe: Recipe,
        channels: int,
        **position: Any,
    ) -> "tf.data.Dataset":
        """Return the batches of an epoch."""
        from keras_resnext.data import batches

        return batches.train_batches(
            dataset, recipe, channels=channels, **position
        )

    def evaluate(
        self,
        model: keras.Model,
        dataset: Dataset,
        recipe: Recipe,
        split: str,
        batch_size: int,
        strategy: Strategy,
        callback: keras.callbacks.Callback,
    ) -> dict[str, float]:
        """Measure loss and accuracy on a split."""
        from keras_resnext.data import batches

        found = model.evaluate(
            strategy.distribute(
                batches.evaluation_batches(
                    dataset,
                    recipe,
                    split,
                    batch_size,
                    model.input_shape[-1],
                    strategy.worker,
                    strategy.num_workers,
                )
            ),
            verbose=0,
            return_dict=True,
            callbacks=[callback],
        )
        return {"loss": found["cross_entropy"], "accuracy": found["accuracy"]}

    def deployed(self, build: Build) -> keras.Model:
        """Return the model that ends in probabilities."""
        return build("softmax")

    def text(self, row: Mapping[str, Any]) -> str:
        """Return the accuracies of an epoch as text."""
        text = f"accuracy {row['accuracy']:.2%}"
        if "val_accuracy" in row:
            text += (
                f", validation {row['val_accuracy']:.2%} "
                f"(loss {row['val_loss']:.4f})"
            )
        return text
