"""Training by a recipe: resumable, with records and plots.

from keras_resnext import data
from keras_resnext.training.trainer import Trainer

dataset = data.load_dataset("path/to/folder")
trainer = Trainer("resnext50_32x4d", dataset, recipe, "runs/mine")
history = trainer.train(resume=True)
"""

import contextlib
import functools
import os
import time
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import keras
import numpy as np

from keras_resnext.config import ResNeXtConfig
from keras_resnext.data.datasets import Dataset
from keras_resnext.models import ResNeXt
from keras_resnext.resnext_model import set_data_config
from keras_resnext.training import checkpoints
from keras_resnext.training import optimizers
from keras_resnext.training import progress
from keras_resnext.training import strategy as strategies
from keras_resnext.training.averaging import WeightAverage
from keras_resnext.training.faults import explained
from keras_resnext.training.recipe import Recipe
from keras_resnext.training.run_directory import RunDirectory
from keras_resnext.training.run_directory import describe
from keras_resnext.training.signals import StopOnSignal
from keras_resnext.training.strategy import Strategy
from keras_resnext.training.tasks import Build
from keras_resnext.training.tasks import Classification
from keras_resnext.training.tasks import Task
from keras_resnext.variants import VARIANTS
from keras_resnext.weights.save_keras import save_keras

PRECISIONS = {
    "float32": "float32",
    "bfloat16": "mixed_bfloat16",
    "float16": "mixed_float16",
}


class DivergedError(RuntimeError):
    """The loss is NaN or infinite."""


class TrainingStopped(Exception):
    """A signal stopped the training, and the run was saved.

    Args:
        signal: Number of the signal.
    """

    def __init__(self, signal: int) -> None:
        super().__init__("Stopped and saved. The run resumes with resume=True.")
        self.signal = signal


def prepare(
    strategy: str = "auto", seed: int = 0, deterministic: bool = False
) -> Strategy:
    """Prepare this process for training, before it creates the first tensor.

    Args:
        strategy: Name of a strategy, see `strategy.start`.
        seed: Seed of all randomness.
        deterministic: Whether results are reproducible, at a lower speed.

    Returns:
        The `Strategy`.

    Raises:
        ValueError: If the backend has no such strategy.
    """
    import tensorflow as tf

    if keras.backend.backend() != "tensorflow":
        # TensorFlow only reads images, and must not take the GPU's memory.
        with contextlib.suppress(RuntimeError):  # already initialized
            tf.config.set_visible_devices([], "GPU")
    if deterministic:
        tf.config.experimental.enable_op_determinism()
        if keras.backend.backend() == "torch":
            import torch

            torch.use_deterministic_algorithms(True)
    started = strategies.start(strategy)
    keras.utils.set_random_seed(seed)
    return started


def build_model(
    config: ResNeXtConfig,
    recipe: Recipe,
    labels: list[str],
    activation: str | None = None,
    name: str | None = None,
) -> keras.Model:
    """Build a model of random weights for a recipe.

    Args:
        config: Configuration of the model.
        recipe: Recipe, which sets dropout, stochastic depth and
            `zero_init_last`.
        labels: Names of the classes.
        activation: Activation of the classifier, `None` for logits.
        name: Name of the model.

    Returns:
        A model for images of any size that stores its evaluation transform and
        the names of its classes.
    """
    model = ResNeXt(
        configure(config, recipe),
        weights=None,
        input_shape=(None, None, 3),
        classes=len(labels),
        classifier_activation=activation,
        name=name,
    )
    describe_images(model, recipe, labels)
    return model


def configure(config: ResNeXtConfig, recipe: Recipe) -> ResNeXtConfig:
    """Return a configuration with the fields that a recipe sets."""
    return replace(
        config,
        stochastic_depth=recipe.stochastic_depth,
        dropout=recipe.dropout,
        zero_init_last=recipe.zero_init_last,
    )


def describe_images(
    model: keras.Model, recipe: Recipe, labels: list[str]
) -> None:
    """Store a recipe's evaluation transform and the labels in a model."""
    set_data_config(
        model,
        mean=recipe.mean,
        std=recipe.std,
        interpolation=recipe.interpolation,
        size=recipe.evaluation_size,
        crop_pct=recipe.evaluation_size / recipe.evaluation_resize,
        labels=labels,
    )


class Trainer:
    """Training of a model by a recipe, recorded in a directory.

    The directory receives `run.json` (recipe, dataset, versions, result),
    `history.csv`, `curves.png`, metrics for TensorBoard, checkpoints from
    which the run resumes exactly, and the model as `last.keras` and, if the
    dataset has validation images, as `best.keras`.

    Args:
        model: Name of a variant; or a function that makes a model whose
            output has the given activation, `None` for logits.
        dataset: The dataset.
        recipe: The recipe.
        directory: Directory of the run, created if needed.
        name: Name of the model in the record; `None` for the variant's.
        task: Task of the model, such as `Classification()`.
        strategy: Strategy from `prepare`; `None` for one device.
        batch_size: Images per step, over all devices; `None` for the
            recipe's. The learning rate is scaled in proportion.
        steps: Steps of an epoch; `None` for all images.
        seed: Seed of all randomness.
        precision: `"float32"`, `"bfloat16"` or `"float16"`, of the
            computation; weights stay float32.
        synchronize: Whether batch statistics are those of all devices
            (TensorFlow; on JAX they always are).
        save_steps: Steps between checkpoints; one is also saved after each
            epoch.
        identity: JSON values that identify the run, besides those that the
            trainer records.

    Raises:
        ValueError: If the images don't fit the recipe or the devices.

    Example:
    >>> from keras_resnext import data
    >>> from keras_resnext.training import recipes
    >>> dataset = data.load_dataset(
    ...     "path/to/folder", validation=True
    ... )
    >>> recipe = recipes.get("cifar_short", epochs=1, batch_size=8)
    >>> trainer = Trainer("resnext23s_4x32d", dataset, recipe, "runs/pets")
    >>> epochs = trainer.train()
    >>> len(epochs), 0 <= epochs[-1]["val_accuracy"] <= 1
    (1, True)
    """

    def __init__(
        self,
        model: str | Build,
        dataset: Dataset,
        recipe: Recipe,
        directory: str | os.PathLike[str],
        *,
        name: str | None = None,
        task: Task | None = None,
        strategy: Strategy | None = None,
        batch_size: int | None = None,
        steps: int | None = None,
        seed: int = 0,
        precision: str = "float32",
        synchronize: bool = False,
        save_steps: int = 1000,
        identity: Mapping[str, Any] | None = None,
    ) -> None:
        self.dataset, self.recipe = dataset, recipe
        self.task = Classification() if task is None else task
        self.strategy = Strategy("none") if strategy is None else strategy
        self.batch_size = batch_size or recipe.batch_size
        self.seed, self.precision = seed, precision
        self.save_steps = save_steps
        self.directory = RunDirectory(directory, self.strategy.is_chief)
        if isinstance(model, str):
            name = name or model
            model = functools.partial(
                build_model, VARIANTS[model], recipe, dataset.labels, name=name
            )
        self.build: Build = model
        self.identity = dict(identity or {})
        # The last row of the history and the measures of the test images.
        self.result: dict[str, Any] = {}
        if self.batch_size % self.strategy.num_replicas:
            raise ValueError(
                f"{self.batch_size:,} images per step can't be shared by "
                f"{self.strategy.num_replicas} devices. Use another batch "
                "size."
            )
        images = dataset.splits["train"].count
        self.steps = min(steps or images, images // self.batch_size)
        # Refuses images that don't fit.
        self._channels = 3
        self._batches(0, 0)
        with self._dtype_policy(PRECISIONS[precision]), self.strategy.scope():
            self.model = self.build(None)
            if synchronize:
                strategies.synchronize_batch_norm(self.model)
            optimizer = recipe.make_optimizer(
                self.steps, self.batch_size, **self.task.optimizer_options
            )
            if precision == "float16":
                optimizer = optimizers.LossScaleOptimizer(optimizer)
            self.task.compile(self.model, recipe, optimizer)
            optimizer.build(self.model.trainable_variables)
        self.name = name or self.model.name
        self._channels = self.model.input_shape[-1]

    def train(self, resume: bool = False) -> list[dict[str, Any]]:
        """Train to the end of the recipe.

        Args:
            resume: Whether to resume from the last checkpoint of the run, if
                there is one.

        Returns:
            The history: a row of numbers for each epoch.

        Raises:
            TrainingStopped: If a signal arrived; the run was saved.
            DivergedError: If the loss is NaN or infinite.
            RunError: If the disk fails or an image can't be read.
            OSError: If the directory can't be written, or is in use.
            ValueError: If the directory is of another run, or of this run and
                `resume` is false.
        """
        with self.directory.hold():
            return self._train(resume)

    def evaluate(self, split: str) -> dict[str, float]:
        """Measure the current model on `"validation"` or `"test"` images."""
        return self._evaluate(split, keras.callbacks.Callback())

    @functools.cached_property
    def deployed(self) -> keras.Model:
        """Model for inference, in full precision."""
        with self._dtype_policy("float32"):
            return self.task.deployed(self.build)

    @property
    def validates(self) -> bool:
        """True if there are validation images."""
        return "validation" in self.dataset.splits

    def _train(self, resume: bool) -> list[dict[str, Any]]:
        recipe, strategy, task = self.recipe, self.strategy, self.task
        record = describe(recipe, self._identity())
        self.directory.claim(record, resume)
        print_ = functools.partial(progress.CONSOLE.print, soft_wrap=True)
        say = print_ if strategy.is_chief else lambda _: None
        history: list[dict[str, Any]] = []
        restored = None
        start = first_step = 0
        if resume and checkpoints.files(self.directory.path):
            restored = checkpoints.restore(self.directory.path, self.model)
            for reason in restored.reasons:
                say(reason)
            state = restored.state
            start, first_step = state["epoch"], state["first_step"]
            history += state["history"]
            say(
                f"Resuming after step {first_step} of epoch {start + 1}: "
                f"{restored.path}"
            )
        elif resume:
            say(
                f"There is nothing to resume in {self.directory.path}: "
                "starting a new run."
            )
        say(self._heading())
        if self.dataset.skipped:
            say(f"Skipped {self.dataset.skipped:,} files that are not images.")
        shown = progress.Progress(
            recipe.epochs, self.steps, self.batch_size, strategy.is_chief
        )
        (average,) = recipe.make_callbacks(self.steps) or (None,)
        if average is not None and restored is not None:
            average.set_state(restored.averages)
        saving = Checkpointing(self, history, restored, average)
        with (
            explained(self.directory.path, self.dataset),
            StopOnSignal(strategy.num_workers == 1) as stopping,
        ):
            for epoch in range(start, recipe.epochs):
                for callback in (shown, saving):
                    callback.begin(epoch, first_step)
                row = self._one_epoch(
                    epoch, first_step, shown, saving, stopping
                )
                if shown.diverged_at is not None:
                    raise DivergedError(self._diverged(shown.diverged_at))
                if saving.done < self.steps:
                    saving.save()
                    raise TrainingStopped(int(stopping.received or 0))
                history.append(row)
                self._deploy(history)
                self.directory.write_board(row)
                saving.save()
                say(progress.line(epoch, recipe.epochs, row, task.text(row)))
                first_step = 0
                if stopping.received and epoch + 1 < recipe.epochs:
                    raise TrainingStopped(int(stopping.received))
            if average is not None:
                average.show()
            self._finish(record, history, shown, say)
        return history

    def _one_epoch(
        self,
        epoch: int,
        first_step: int,
        shown: progress.Progress,
        saving: "Checkpointing",
        stopping: StopOnSignal,
    ) -> dict[str, Any]:
        """Train for an epoch, measure, and return a row of the history."""
        began = time.monotonic()
        averages = [] if saving.average is None else [saving.average]
        batches = self._batches(epoch, first_step)
        logs = self.model.fit(
            self.strategy.distribute(batches.take(self.steps - first_step)),
            initial_epoch=epoch,
            epochs=epoch + 1,
            # They are already shuffled.
            shuffle=False,
            verbose=0,
            # Averages first: checkpoints contain them.
            callbacks=[*averages, shown, saving, stopping],
        ).history
        seconds = time.monotonic() - began
        if saving.done < self.steps or shown.diverged_at is not None:
            return {}
        row = {"epoch": epoch + 1, "loss": logs["loss"][-1]}
        if self.task.measure in logs:
            row[self.task.measure] = logs[self.task.measure][-1]
        if self.validates:
            measured = self._evaluate("validation", shown)
            row |= {f"val_{name}": value for name, value in measured.items()}
        return row | {
            "learning_rate": self.recipe.learning_rates(self.batch_size)[epoch],
            "images_per_second": (self.steps - first_step)
            * self.batch_size
            / seconds,
        }

    def _batches(self, epoch: int, first_step: int) -> Any:
        return self.task.train_batches(
            self.dataset,
            self.recipe,
            self._channels,
            batch_size=self.batch_size,
            seed=self.seed,
            epoch=epoch,
            first_step=first_step,
            worker=self.strategy.worker,
            workers=self.strategy.num_workers,
        )

    def _evaluate(
        self, split: str, callback: keras.callbacks.Callback
    ) -> dict[str, float]:
        return self.task.evaluate(
            self.model,
            self.dataset,
            self.recipe,
            split,
            self.batch_size,
            self.strategy,
            callback,
        )

    def _deploy(self, history: list[dict[str, Any]]) -> None:
        """Write the model for inference if it is the best so far or final."""
        values = [
            keras.ops.convert_to_numpy(weight.value)
            for weight in self.model.weights
        ]
        if not self.strategy.is_chief:
            return
        self.directory.write_history(
            history, self.task.measure, self.task.title
        )
        key = f"val_{self.task.measure}"
        best = self.validates and history[-1][key] == max(
            row[key] for row in history
        )
        last = history[-1]["epoch"] == self.recipe.epochs
        names = ["best.keras"] * best + ["last.keras"] * last
        if not names:
            return
        with self.strategy.chief_only():
            self.deployed.set_weights(values)
            for name in names:
                save_keras(self.deployed, self.directory.path / name)

    def _finish(
        self,
        record: dict[str, Any],
        history: list[dict[str, Any]],
        shown: progress.Progress,
        say: Callable[[str], None],
    ) -> None:
        """Measure on the test images, and record the result."""
        result = dict(history[-1])
        text = self.task.text(result)
        if "test" in self.dataset.splits:
            measured = self._evaluate("test", shown)
            result |= {
                f"test_{name}": value for name, value in measured.items()
            }
            text = ", ".join(
                f"test {name.replace('_', ' ')} {value:.4g}"
                for name, value in measured.items()
            )
        self.result = result
        if self.strategy.is_chief:
            self.directory.write_record({**record, "result": result})
        say(
            f"{self.name} on {self.dataset.name}: {text}. Run directory: "
            f"{self.directory.path}"
        )

    def _heading(self) -> str:
        strategy, images = self.strategy, self.dataset.splits["train"].count
        return (
            f"{self.name}: {self.model.count_params():,} parameters, "
            f"{len(self.dataset.labels)} classes, {images:,} images, "
            f"{self.steps:,} steps of {self.batch_size:,} per epoch, on "
            f"{strategy.num_replicas} x {keras.backend.backend()} "
            f"({strategy.name})"
        )

    def _identity(self) -> dict[str, Any]:
        splits = self.dataset.splits
        return {
            "model": self.name,
            "dataset": self.dataset.name,
            "labels": list(self.dataset.labels),
            "images": self.dataset.identity
            or {name: images.count for name, images in splits.items()},
            "batch_size": self.batch_size,
            "steps": self.steps,
            "precision": self.precision,
            "seed": self.seed,
            **self.identity,
        }

    def _diverged(self, step: int) -> str:
        return (
            f"Loss is NaN or infinite at step {step:,} (epoch "
            f"{(step - 1) // self.steps + 1}). "
            f"{checkpoints.last_good(self.directory.path)} Try a lower "
            "learning rate: --set learning_rate="
            f"{self.recipe.learning_rate / 2:g}"
        )

    @contextlib.contextmanager
    def _dtype_policy(self, policy: str) -> Iterator[None]:
        before = keras.config.dtype_policy()
        keras.config.set_dtype_policy(policy)
        try:
            yield
        finally:
            keras.config.set_dtype_policy(before)


class Checkpointing(keras.callbacks.Callback):
    """Callback that saves checkpoints of a run at regular intervals.

    If a recipe averages weights, the averages are measured and deployed; a
    checkpoint contains them beside the training weights.

    Args:
        trainer: The trainer.
        history: Rows of the epochs so far, which the trainer appends to.
        restored: The checkpoint that the run resumes from, if any.
        average: The average of the weights, if the recipe has one.
    """

    def __init__(
        self,
        trainer: Trainer,
        history: list[dict[str, Any]],
        restored: checkpoints.Restored | None,
        average: WeightAverage | None,
    ) -> None:
        super().__init__()
        self.trainer, self.history = trainer, history
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
            checkpoints.seed_generators(self.trainer.seed, self.epoch)

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        if batch == 0 and self.done and self.restored:
            self._sync()
            checkpoints.add_metrics(self.trainer.model, self.restored.metrics)
        self.done += 1
        finite = np.isfinite(float((logs or {}).get("loss", 0.0)))
        due = self.done % self.trainer.save_steps == 0
        # The last checkpoint of an epoch waits for the validation.
        if due and finite and self.done < self.trainer.steps:
            self.save()

    def save(self) -> None:
        """Save the current state of the run."""
        steps = self.trainer.steps
        whole = self.done == steps
        self._sync()
        if self.average is not None:
            self.average.hide()
        checkpoints.save(
            self.trainer.directory.path,
            self.trainer.model,
            self.epoch * steps + self.done,
            {
                "epoch": self.epoch + whole,
                "first_step": 0 if whole else self.done,
                "history": self.history,
            },
            self.trainer.strategy.is_chief,
            None if self.average is None else self.average.get_state(),
        )

    def _sync(self) -> None:
        """Copy the state of `fit` to the variables, which JAX needs."""
        if keras.backend.backend() == "jax":
            self.trainer.model.jax_state_sync()
