"""Trains a network by a recipe: what the scripts have in common."""

import argparse
import contextlib
import functools
import pathlib
import shlex
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from dataclasses import replace
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from pipeline import batches
from pipeline import load
from pipeline.sources import Plan
from pipeline.sources import Source

import keras_resnext
from keras_resnext.training import optimizers
from keras_resnext.training import strategy as strategies
from keras_resnext.training.recipe import Recipe
from keras_resnext.training.strategy import Strategy
from skeleton import arguments
from skeleton import checkpoints
from skeleton import folder
from skeleton import progress
from skeleton import synthetic
from skeleton.stopping import Stopping

# Makes a network that ends in the activation given.
Make = Callable[[str | None], keras.Model]


# Does what a script is for, and returns its exit status.
Work = Callable[[argparse.Namespace, Recipe], int]


class Diverged(RuntimeError):
    """The loss is no number any more."""


class Stopped(Exception):
    """A signal came, and the run was saved; the message says how to go on."""

    def __init__(self, number: int | None) -> None:
        command = shlex.join([arg for arg in sys.argv if arg != "--resume"])
        super().__init__(
            f"Stopped and saved. Go on with: python {command} --resume"
        )
        self.status = 128 + int(number or 0)


@dataclass
class Run:
    """What training goes through, epoch by epoch."""

    args: argparse.Namespace
    recipe: Recipe
    source: Source
    strategy: Strategy
    make: Make
    model: keras.Model
    batch_size: int
    steps: int

    @functools.cached_property
    def deployed(self) -> keras.Model:
        """The network as it is used: for probabilities, in full precision."""
        policy = keras.config.dtype_policy()
        keras.config.set_dtype_policy("float32")
        network = self.make("softmax")
        keras.config.set_dtype_policy(policy)
        return network

    def plan(self, epoch: int, first_step: int) -> Plan:
        return Plan(
            self.args.seed,
            epoch,
            self.batch_size,
            self.recipe.repeats,
            first_step,
            self.strategy.worker,
            self.strategy.num_workers,
        )

    def training(self, epoch: int, first_step: int) -> Any:
        """The batches of an epoch, or of what is left of it."""
        dataset = batches.training(
            self.source.splits["train"],
            self.recipe,
            self.plan(epoch, first_step),
            len(self.source.labels),
            self.model.input_shape[-1],
        )
        return self.strategy.distribute(dataset.take(self.steps - first_step))

    def evaluate(self, shown: keras.callbacks.Callback) -> dict[str, float]:
        """Loss and accuracy on the pictures that were held out."""
        dataset = batches.evaluation(
            self.source.held_out,
            self.recipe,
            self.batch_size,
            len(self.source.labels),
            self.model.input_shape[-1],
            self.strategy.worker,
            self.strategy.num_workers,
        )
        if self.args.dry_run:
            dataset = dataset.take(2)
        return self.model.evaluate(
            self.strategy.distribute(dataset),
            verbose=0,
            return_dict=True,
            callbacks=[shown],
        )


class Checkpointing(keras.callbacks.Callback):
    """Saves a run every so many steps, and keeps weights from averages.

    Keras puts the averages of weights, where a recipe asks for them, into the
    model when `fit` ends. They are what is measured and used; training goes
    on with the weights themselves.
    """

    def __init__(
        self,
        run: Run,
        history: list[dict[str, Any]],
        generators: list[np.ndarray],
    ) -> None:
        super().__init__()
        self.run, self.history, self.generators = run, history, generators
        self.epoch = self.done = 0
        self._weights: list[np.ndarray] | None = None

    def begin(self, epoch: int, first_step: int) -> None:
        self.epoch, self.done = epoch, first_step

    def on_train_batch_begin(
        self, batch: int, logs: dict | None = None
    ) -> None:
        if batch > 0:
            return
        if self.done and self.generators:
            checkpoints.set_generators(self.generators)
        else:
            checkpoints.seed_generators(self.run.args.seed, self.epoch)

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        self.done += 1
        finite = np.isfinite(float((logs or {}).get("loss", 0.0)))
        due = self.done % self.run.args.save_steps == 0
        # An epoch's last one waits for what is measured.
        if due and finite and self.done < self.run.steps:
            self.save()

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        if self.run.recipe.ema:
            self._weights = [
                keras.ops.convert_to_numpy(variable.value)
                for variable in self.model.trainable_variables
            ]

    def train_on(self) -> None:
        """Puts the weights back that training goes on with."""
        if self._weights is not None:
            for variable, value in zip(
                self.model.trainable_variables, self._weights, strict=True
            ):
                variable.assign(value)

    def save(self) -> None:
        whole = self.done == self.run.steps
        checkpoints.save(
            self.run.args.output,
            self.run.model,
            self.epoch * self.run.steps + self.done,
            {
                "epoch": self.epoch + whole,
                "first_step": 0 if whole else self.done,
                "history": self.history,
            },
            self.run.strategy.is_chief,
        )


def main(parser: argparse.ArgumentParser, work: Work) -> int:
    """Runs a script; the result is its exit status."""
    args = parser.parse_args()
    try:
        recipe = arguments.recipe_of(args)
        if args.show_recipe:
            print(recipe)
            return 0
        with contextlib.ExitStack() as stack:
            if args.dry_run:
                args.resume = False
                args.output = pathlib.Path(
                    stack.enter_context(tempfile.TemporaryDirectory())
                )
                args.steps, recipe = 2, recipe.override(epochs=1)
            return work(args, recipe)
    except Stopped as stop:
        print(stop)
        return stop.status
    except (
        ValueError,
        FileExistsError,
        FileNotFoundError,
        NotADirectoryError,
    ) as error:
        parser.error(str(error))
    except (Diverged, OSError) as error:
        print(f"{parser.prog}: error: {error}", file=sys.stderr)
        return 1


def from_nothing(args: argparse.Namespace, recipe: Recipe) -> int:
    """Trains a network whose weights are random; the result is a status."""
    if args.output is None:
        args.output = pathlib.Path("runs", f"{args.model}-{args.recipe}")
    strategy = start(args)
    pictures = source(args, recipe)
    make = functools.partial(build, args.model, recipe, len(pictures.labels))
    train(prepare(args, recipe, pictures, strategy, make))
    return 0


def start(args: argparse.Namespace) -> Strategy:
    """What comes before the first tensor."""
    if keras.backend.backend() != "tensorflow":
        # TensorFlow only reads pictures and must leave the GPU's memory alone.
        tf.config.set_visible_devices([], "GPU")
    if args.deterministic:
        tf.config.experimental.enable_op_determinism()
        if keras.backend.backend() == "torch":
            import torch

            torch.use_deterministic_algorithms(True)
    strategy = strategies.start(args.strategy)
    keras.utils.set_random_seed(args.seed)
    keras.config.set_dtype_policy(arguments.POLICIES[args.precision])
    return strategy


def source(
    args: argparse.Namespace, recipe: Recipe, validate: bool = False
) -> Source:
    """The data set, or noise for a dry run."""
    if args.dry_run:
        batch_size = args.batch_size or recipe.batch_size
        return synthetic.source(recipe, batch_size, args.output)
    return load.load(args.dataset, args.data_dir, args.corrupt, validate)


def prepare(
    args: argparse.Namespace,
    recipe: Recipe,
    source: Source,
    strategy: Strategy,
    make: Make,
) -> Run:
    """Makes the network and all that training it needs."""
    batch_size = args.batch_size or recipe.batch_size
    check(source, recipe, batch_size, strategy)
    pictures = source.splits["train"].count
    steps = min(args.steps or pictures, pictures // batch_size)
    with strategy.scope():
        model = make(None)
        if args.synchronize:
            strategies.synchronize_batch_norm(model)
        optimizer = recipe.make_optimizer(steps, batch_size)
        if args.precision == "float16":
            optimizer = optimizers.LossScaleOptimizer(optimizer)
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
        optimizer.build(model.trainable_variables)
    return Run(args, recipe, source, strategy, make, model, batch_size, steps)


def build(
    name: str, recipe: Recipe, classes: int, activation: str | None = None
) -> keras.Model:
    """The network: by default one that puts logits out, to be trained."""
    config = replace(
        keras_resnext.VARIANTS[name],
        stochastic_depth=recipe.stochastic_depth,
        dropout=recipe.dropout,
    )
    return keras_resnext.ResNeXt(
        config,
        weights=None,
        input_shape=(None, None, 3),
        classes=classes,
        classifier_activation=activation,
        name=name,
    )


def check(
    source: Source, recipe: Recipe, batch_size: int, strategy: Strategy
) -> None:
    """Refuses what would fail later, or mean something else."""
    pictures = source.splits["train"]
    if batch_size > pictures.count:
        raise ValueError(
            f"'{source.name}' has {pictures.count:,} training pictures, fewer "
            f"than the {batch_size:,} of a step. Take less: --batch-size."
        )
    if batch_size % strategy.num_replicas:
        raise ValueError(
            f"{batch_size:,} pictures a step can't be shared by "
            f"{strategy.num_replicas} devices. Take another --batch-size."
        )
    if recipe.crop == "padded":
        size = (recipe.train_size, recipe.train_size)
        found = getattr(pictures, "contents", np.empty(0)).shape[1:3]
        if found != size:
            have = "x".join(map(str, found)) if found else "various sizes"
            raise ValueError(
                f"The recipe '{recipe.name}' is for pictures of "
                f"{size[0]}x{size[1]}, and those of '{source.name}' have "
                f"{have}. Take another recipe, or --set crop=random_resized."
            )


def train(run: Run) -> list[dict[str, Any]]:
    """Trains, from where the run is on.

    Returns:
        The history, a row for each epoch.

    Raises:
        Stopped: If a signal came.
        Diverged: If the loss is no number any more.
    """
    args, recipe, strategy = run.args, run.recipe, run.strategy
    record = folder.describe(recipe, identity(run))
    folder.claim(args.output, record, args.resume, strategy.is_chief)
    say = progress.CONSOLE.print if strategy.is_chief else quiet
    history: list[dict[str, Any]] = []
    generators: list[np.ndarray] = []
    start = first_step = 0
    if args.resume and checkpoints.files(args.output):
        found = checkpoints.restore(args.output, run.model)
        for reason in found.reasons:
            say(reason)
        start, first_step = found.state["epoch"], found.state["first_step"]
        history += found.state["history"]
        generators = found.generators
        say(
            f"Going on after step {first_step} of epoch {start + 1}: "
            f"{found.path}"
        )
    pictures = run.source.splits["train"].count
    say(
        f"{args.model}: {run.model.count_params():,} parameters, "
        f"{len(run.source.labels)} classes, {pictures:,} pictures, "
        f"{run.steps:,} steps of {run.batch_size:,} an epoch, on "
        f"{strategy.num_replicas} x {keras.backend.backend()} "
        f"({strategy.name})"
    )
    if run.source.skipped:
        say(f"{run.source.skipped:,} files are no pictures and were left out.")
    shown = progress.Progress(
        recipe.epochs, run.steps, run.batch_size, strategy.is_chief
    )
    saving = Checkpointing(run, history, generators)
    board = folder.board(args.output) if strategy.is_chief else None
    with Stopping(strategy.num_workers == 1) as stopping:
        for epoch in range(start, recipe.epochs):
            for each in (shown, saving):
                each.begin(epoch, first_step)
            row = one_epoch(run, epoch, first_step, shown, saving, stopping)
            if shown.diverged_at is not None:
                raise Diverged(diverged(run, shown.diverged_at))
            if saving.done < run.steps:
                saving.train_on()
                saving.save()
                raise Stopped(stopping.received)
            history.append(row)
            deploy(run, history)
            if board is not None:
                folder.write_board(board, row)
            saving.train_on()
            saving.save()
            say(progress.line(epoch, recipe.epochs, row))
            first_step = 0
            if stopping.received and epoch + 1 < recipe.epochs:
                raise Stopped(stopping.received)
    finish(run, record, history)
    return history


def one_epoch(
    run: Run,
    epoch: int,
    first_step: int,
    shown: progress.Progress,
    saving: Checkpointing,
    stopping: Stopping,
) -> dict[str, Any]:
    """Trains for an epoch, measures, and returns a row of the history."""
    began = time.monotonic()
    logs = run.model.fit(
        run.training(epoch, first_step),
        initial_epoch=epoch,
        epochs=epoch + 1,
        # They are shuffled already.
        shuffle=False,
        verbose=0,
        callbacks=[shown, saving, stopping],
    ).history
    seconds = time.monotonic() - began
    if saving.done < run.steps or shown.diverged_at is not None:
        return {}
    measured = run.evaluate(shown)
    return {
        "epoch": epoch + 1,
        "loss": logs["loss"][-1],
        "accuracy": logs["accuracy"][-1],
        "val_loss": measured["cross_entropy"],
        "val_accuracy": measured["accuracy"],
        "learning_rate": run.recipe.rates(run.batch_size)[epoch],
        "pictures_per_second": (run.steps - first_step)
        * run.batch_size
        / seconds,
    }


def deploy(run: Run, history: list[dict[str, Any]]) -> None:
    """Writes the network as it is used, if it is the best so far or last."""
    values = [
        keras.ops.convert_to_numpy(weight.value) for weight in run.model.weights
    ]
    if not run.strategy.is_chief:
        return
    output = run.args.output
    folder.write_history(output, history)
    row = history[-1]
    best = row["val_accuracy"] == max(each["val_accuracy"] for each in history)
    last = row["epoch"] == run.recipe.epochs
    names = ["best.keras"] * best + ["last.keras"] * last
    if not names:
        return
    with run.strategy.alone():
        run.deployed.set_weights(values)
        for name in names:
            part = output / f".part.{name}"
            run.deployed.save(part)
            part.replace(output / name)


def finish(
    run: Run, record: dict[str, Any], history: list[dict[str, Any]]
) -> None:
    """Adds what came of a run to its record, and says it."""
    if not run.strategy.is_chief:
        return
    last = history[-1]
    folder.write_record(
        run.args.output, {**record, "labels": run.source.labels, "result": last}
    )
    progress.CONSOLE.print(
        f"{run.args.model} on {run.source.name}: "
        f"{last['val_accuracy']:.2%} of the pictures held out right."
        + ("" if run.args.dry_run else f" All is in {run.args.output}.")
    )


def identity(run: Run) -> dict[str, Any]:
    """What a run is known by, besides its recipe."""
    args = run.args
    return {
        "model": args.model,
        "dataset": run.source.name,
        "batch_size": run.batch_size,
        "steps": run.steps,
        "precision": args.precision,
        "seed": args.seed,
    }


def diverged(run: Run, step: int) -> str:
    saved = checkpoints.files(run.args.output)
    return (
        f"The loss was no number any more at step {step:,}, in epoch "
        f"{(step - 1) // run.steps + 1}. "
        + (
            f"The last good checkpoint is '{saved[0]}'. "
            if saved
            else "There is no checkpoint from before. "
        )
        + "A lower learning rate may help: --set learning_rate="
        f"{run.recipe.learning_rate / 2:g}"
    )


def quiet(_: str) -> None:
    """What workers other than the first say."""
