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
from typing import Any

import keras

from keras_resnext.data.datasets import Dataset
from keras_resnext.training import checkpoints
from keras_resnext.training import optimizers
from keras_resnext.training import progress
from keras_resnext.training import strategy as strategies
from keras_resnext.training.checkpointing import Checkpointing
from keras_resnext.training.faults import DivergedError
from keras_resnext.training.faults import TrainingStopped
from keras_resnext.training.faults import explained
from keras_resnext.training.models import build_model
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
        strategy: Strategy from `strategy.prepare`; `None` for one device.
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
        saving = Checkpointing(
            *(self.directory, self.steps, self.save_steps, self.seed),
            *(history, restored, average),
        )
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
        saving: Checkpointing,
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
