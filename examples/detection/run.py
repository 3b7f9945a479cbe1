"""A run of a detector, as the skeleton's loop goes through it."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from typing import ClassVar

import keras
import numpy as np

from detection import data
from detection import metrics
from detection.metrics import Measures
from keras_resnext.training.recipes import Recipe
from skeleton import prepare

DRY_BATCHES = 2


@dataclass
class Run(prepare.Run):
    """What training a detector goes through, epoch by epoch."""

    measure: ClassVar[tuple[str, str]] = ("map", "mAP")
    optimizer_options: ClassVar[dict[str, Any]] = {"global_clipnorm": 10.0}

    @staticmethod
    def compile(
        model: keras.Model,
        recipe: Recipe,
        optimizer: keras.optimizers.Optimizer,
    ) -> None:
        """Tells a network what it is to learn, and how."""
        model.compile(
            box_loss="smoothl1",
            classification_loss="focal",
            optimizer=optimizer,
            # XLA would have to know how many boxes there are.
            jit_compile=False,
        )

    @functools.cached_property
    def deployed(self) -> keras.Model:
        """From pictures to raw boxes and classes, in full precision.

        It opens without keras-cv, which `network.detector` needs.
        """
        policy = keras.config.dtype_policy()
        keras.config.set_dtype_policy("float32")
        network = self.make(None)
        keras.config.set_dtype_policy(policy)
        return keras.Model(network.inputs[0], network.output)

    def training(self, epoch: int, first_step: int) -> Any:
        """The batches of an epoch, or of what is left of it."""
        dataset = data.training(
            self.source.splits["train"],
            self.recipe,
            self.plan(epoch, first_step),
        )
        return self.strategy.distribute(dataset.take(self.steps - first_step))

    def evaluate(self, shown: keras.callbacks.Callback) -> dict[str, float]:
        """The mean average precisions on the pictures held out."""
        shown.on_test_begin()
        measures = self.look()[0]
        shown.on_test_end()
        return {
            name: getattr(measures, name) or 0.0
            for name in ("map", "map50", "map75")
        }

    def look(self) -> tuple[Measures, list[np.ndarray], list[np.ndarray]]:
        """Measures of the held-out pictures, their objects and those found."""
        dataset = data.evaluation(
            self.source.splits["test"], self.recipe, self.batch_size
        )
        if self.args.dry_run:
            dataset = dataset.take(DRY_BATCHES)
        true: list[np.ndarray] = []
        found: list[np.ndarray] = []
        for images, objects in dataset:
            true += [each[each[:, 4] >= 0] for each in objects.numpy()]
            found += as_objects(self.model.predict_on_batch(images))
        return metrics.measure(true, found, self.source.labels), true, found

    def seen(self, count: int) -> list[np.ndarray]:
        """The first held-out pictures, as the network sees them."""
        dataset = data.evaluation(self.source.splits["test"], self.recipe, 1)
        return [image[0].numpy() for image, _ in dataset.take(count)]

    def row(
        self, logs: prepare.History, measured: dict[str, float]
    ) -> dict[str, Any]:
        """What the history says of an epoch, besides its loss."""
        return {f"val_{name}": value for name, value in measured.items()}

    def line(self, row: dict[str, Any]) -> str:
        """The same in words."""
        return (
            f"held out mAP {row['val_map']:.3f}, at 0.5 {row['val_map50']:.3f}"
        )

    def verdict(self, row: dict[str, Any]) -> str:
        """What came of it all, by the last epoch's row."""
        return f"{self.line(row)}."

    def identity(self) -> dict[str, Any]:
        """What a run is known by, besides its recipe."""
        names = ("weights", "freeze_batch_norm", "channels", "depth")
        return super().identity() | {
            "pictures": self.source.splits["train"].count,
            **{name: getattr(self.args, name) for name in names},
        }


def as_objects(found: dict[str, Any]) -> list[np.ndarray]:
    """What keras-cv found, of each picture as `metrics.measure` takes it."""
    columns = [np.asarray(found[name]) for name in ("classes", "confidence")]
    every = np.concatenate(
        [np.asarray(found["boxes"]), *(each[..., None] for each in columns)], -1
    )
    counts: Sequence[int] = np.asarray(found["num_detections"])
    return [each[:count] for each, count in zip(every, counts, strict=True)]
