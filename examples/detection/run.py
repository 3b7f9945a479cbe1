"""Detection as a task of `keras_resnext.training.trainer.Trainer`."""

from collections.abc import Callable
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from examples.detection import data
from examples.detection import metrics
from examples.detection.metrics import Measures
from keras_resnext.data import Dataset
from keras_resnext.data import EpochPlan
from keras_resnext.training.recipes import Recipe

MEASURES = ("map", "map50", "map75")


class Detection:
    """Detection of objects by a RetinaNet of keras-cv."""

    measure = "map"
    title = "mAP"
    optimizer_options: Mapping[str, Any] = {"global_clipnorm": 10.0}

    def compile(
        self,
        model: keras.Model,
        recipe: Recipe,
        optimizer: keras.optimizers.Optimizer,
    ) -> None:
        """Compile a detector with focal and smooth L1 loss."""
        model.compile(
            box_loss="smoothl1",
            classification_loss="focal",
            optimizer=optimizer,
            # XLA needs a known number of boxes.
            jit_compile=False,
        )

    def train_batches(
        self,
        dataset: Dataset,
        recipe: Recipe,
        channels: int,
        **position: Any,
    ) -> Any:
        """Return the batches of an epoch."""
        plan = EpochPlan(repeats=recipe.repeated_augment, **position)
        return data.train_batches(dataset.splits["train"], recipe, plan)

    def evaluate(
        self,
        model: keras.Model,
        dataset: Dataset,
        recipe: Recipe,
        split: str,
        batch_size: int,
        strategy: Any,
        callback: keras.callbacks.Callback,
    ) -> dict[str, float]:
        """Measure the mean average precisions on a split."""
        callback.on_test_begin()
        measures = look(model, dataset, recipe, split, batch_size)[0]
        callback.on_test_end()
        return {name: getattr(measures, name) or 0.0 for name in MEASURES}

    def deployed(
        self, build: Callable[[str | None], keras.Model]
    ) -> keras.Model:
        """Return the model from images to raw boxes and classes.

        It loads without keras-cv, which `retinanet.detector` needs.
        """
        model = build(None)
        return keras.Model(model.inputs[0], model.output)

    def text(self, row: Mapping[str, Any]) -> str:
        """Return the mean average precisions of an epoch as text."""
        return (
            f"validation mAP {row['val_map']:.3f}, at 0.5 "
            f"{row['val_map50']:.3f}"
        )


def look(
    model: keras.Model,
    dataset: Dataset,
    recipe: Recipe,
    split: str,
    batch_size: int,
) -> tuple[Measures, list[np.ndarray], list[np.ndarray]]:
    """Return the measures of a split, its objects and the predicted ones."""
    true: list[np.ndarray] = []
    found: list[np.ndarray] = []
    for images, objects in data.evaluation_batches(
        dataset.splits[split], recipe, batch_size
    ):
        true += [each[each[:, 4] >= 0] for each in objects.numpy()]
        found += as_objects(model.predict_on_batch(images))
    return metrics.measure(true, found, dataset.labels), true, found


def as_objects(found: dict[str, Any]) -> list[np.ndarray]:
    """Return the results of each image as `metrics.measure` takes them."""
    columns = [np.asarray(found[name]) for name in ("classes", "confidence")]
    every = np.concatenate(
        [np.asarray(found["boxes"]), *(each[..., None] for each in columns)], -1
    )
    counts = np.asarray(found["num_detections"])
    return [each[:count] for each, count in zip(every, counts, strict=True)]
