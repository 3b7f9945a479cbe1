"""Trains, measures, saves, and goes on where it was stopped."""

import shlex
import sys
import time
from typing import Any

import keras
import numpy as np

from keras_resnext.training.averaging import WeightAverage
from keras_resnext.weights.save_keras import save_keras
from skeleton import checkpoints
from skeleton import faults
from skeleton import folder
from skeleton import progress
from skeleton.prepare import Run
from skeleton.stopping import Stopping


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


class Checkpointing(keras.callbacks.Callback):
    """Saves a run every so many steps.

    Where a recipe averages weights, the averages are what is measured and
    used; a checkpoint holds them beside the weights that training goes on
    with.
    """

    def __init__(
        self,
        run: Run,
        history: list[dict[str, Any]],
        restored: checkpoints.Restored | None,
        average: WeightAverage | None,
    ) -> None:
        super().__init__()
        self.run, self.history, self.restored = run, history, restored
        self.average = average
        self.epoch = self.done = 0

    def begin(self, epoch: int, first_step: int) -> None:
        self.epoch, self.done = epoch, first_step

    def on_train_batch_begin(
        self, batch: int, logs: dict | None = None
    ) -> None:
        if batch > 0:
            return
        if self.done and self.restored and self.restored.generators:
            checkpoints.set_generators(self.restored.generators)
        else:
            checkpoints.seed_generators(self.run.args.seed, self.epoch)

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        if batch == 0 and self.done and self.restored:
            self.sync()
            checkpoints.add_metrics(self.run.model, self.restored.metrics)
        self.done += 1
        finite = np.isfinite(float((logs or {}).get("loss", 0.0)))
        due = self.done % self.run.args.save_steps == 0
        # An epoch's last one waits for what is measured.
        if due and finite and self.done < self.run.steps:
            self.save()

    def sync(self) -> None:
        """Brings the numbers to where they are without `fit`."""
        if keras.backend.backend() == "jax":
            self.run.model.jax_state_sync()

    def save(self) -> None:
        whole = self.done == self.run.steps
        self.sync()
        if self.average is not None:
            self.average.hide()
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
            None if self.average is None else self.average.get_state(),
        )


def train(run: Run) -> list[dict[str, Any]]:
    """Trains, from where the run is on.

    Returns:
        The history, a row for each epoch.

    Raises:
        Stopped: If a signal came.
        Diverged: If the loss is no number any more.
        faults.RunError: If the disk or an image is at fault.
        OSError: If the folder can't be written, or another run is in it.
        ValueError: If the folder is another run's.
    """
    with folder.hold(run.args.output, run.strategy.is_chief):
        return _train(run)


def _train(run: Run) -> list[dict[str, Any]]:
    args, recipe, strategy = run.args, run.recipe, run.strategy
    record = folder.describe(recipe, run.identity())
    folder.claim(args.output, record, args.resume, strategy.is_chief)
    say = progress.CONSOLE.print if strategy.is_chief else quiet
    history: list[dict[str, Any]] = []
    restored = None
    start = first_step = 0
    if args.resume and checkpoints.files(args.output):
        restored = checkpoints.restore(args.output, run.model)
        for reason in restored.reasons:
            say(reason)
        state = restored.state
        start, first_step = state["epoch"], state["first_step"]
        history += state["history"]
        say(
            f"Going on after step {first_step} of epoch {start + 1}: "
            f"{restored.path}"
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
    (average,) = recipe.make_callbacks(run.steps) or (None,)
    if average is not None and restored is not None:
        average.set_state(restored.averages)
    saving = Checkpointing(run, history, restored, average)
    board = folder.board(args.output) if strategy.is_chief else None
    with (
        faults.explained(args.output, run.source),
        Stopping(strategy.num_workers == 1) as stopping,
    ):
        for epoch in range(start, recipe.epochs):
            for each in (shown, saving):
                each.begin(epoch, first_step)
            row = one_epoch(run, epoch, first_step, shown, saving, stopping)
            if shown.diverged_at is not None:
                raise Diverged(diverged(run, shown.diverged_at))
            if saving.done < run.steps:
                saving.save()
                raise Stopped(stopping.received)
            history.append(row)
            deploy(run, history)
            if board is not None:
                folder.write_board(board, row)
            saving.save()
            say(progress.line(epoch, recipe.epochs, row, run.line(row)))
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
    averages = [] if saving.average is None else [saving.average]
    logs = run.model.fit(
        run.training(epoch, first_step),
        initial_epoch=epoch,
        epochs=epoch + 1,
        # They are shuffled already.
        shuffle=False,
        verbose=0,
        # Averages first: what is saved holds them.
        callbacks=[*averages, shown, saving, stopping],
    ).history
    seconds = time.monotonic() - began
    if saving.done < run.steps or shown.diverged_at is not None:
        return {}
    measured = run.evaluate(shown)
    return {
        "epoch": epoch + 1,
        "loss": logs["loss"][-1],
        **run.row(logs, measured),
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
    folder.write_history(output, history, run.measure)
    row = history[-1]
    key = f"val_{run.measure[0]}"
    best = row[key] == max(each[key] for each in history)
    last = row["epoch"] == run.recipe.epochs
    names = ["best.keras"] * best + ["last.keras"] * last
    if not names:
        return
    with run.strategy.alone():
        run.deployed.set_weights(values)
        for name in names:
            save_keras(run.deployed, output / name)


def finish(
    run: Run, record: dict[str, Any], history: list[dict[str, Any]]
) -> None:
    """Adds what came of a run to its record, and says it."""
    if not run.strategy.is_chief:
        return
    last = history[-1]
    folder.write_record(run.args.output, {**record, "result": last})
    progress.CONSOLE.print(
        f"{run.args.model} on {run.source.name}: {run.verdict(last)}"
        + ("" if run.args.dry_run else f" All is in {run.args.output}.")
    )


def diverged(run: Run, step: int) -> str:
    return (
        f"The loss was no number any more at step {step:,}, in epoch "
        f"{(step - 1) // run.steps + 1}. {faults.last_good(run.args.output)} "
        "A lower learning rate may help: --set learning_rate="
        f"{run.recipe.learning_rate / 2:g}"
    )


def quiet(_: str) -> None:
    """What workers other than the first say."""
