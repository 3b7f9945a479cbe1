"""Progress of a run, as a bar or as lines."""

import math
import time
from typing import Any

import keras
import rich.console
import rich.progress

CONSOLE = rich.console.Console()
QUIET_SECONDS = 30


class Progress(keras.callbacks.Callback):
    """Progress bar with images per second and the remaining time.

    Without a terminal, it prints a line every half minute.

    Args:
        epochs: Number of epochs of the run.
        steps: Number of steps per epoch.
        batch_size: Number of images per step.
        shown: Whether this worker shows progress.
    """

    def __init__(
        self, epochs: int, steps: int, batch_size: int, shown: bool = True
    ) -> None:
        super().__init__()
        self.epochs, self.steps = epochs, steps
        self.batch_size = batch_size
        self.shown = shown
        self.diverged_at: int | None = None
        self.epoch = self.done = self.seen = 0
        self._bar = rich.progress.Progress(
            rich.progress.TextColumn("{task.description}"),
            rich.progress.BarColumn(),
            rich.progress.TextColumn("{task.fields[facts]}"),
            console=CONSOLE,
            transient=True,
            disable=not (shown and CONSOLE.is_terminal),
        )
        self._task = self._bar.add_task("", total=steps, facts="")
        self._began = self._spoke = time.monotonic()

    def begin(self, epoch: int, first_step: int) -> None:
        """Begin an epoch, or the rest of it."""
        self.epoch, self.done = epoch, first_step

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self._bar.reset(
            self._task,
            total=self.steps,
            completed=self.done,
            description=f"epoch {self.epoch + 1}/{self.epochs}",
        )
        self._bar.start()

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        self.done += 1
        self.seen += 1
        loss = float((logs or {}).get("loss", 0.0))
        if not math.isfinite(loss) and self.diverged_at is None:
            self.diverged_at = self.epoch * self.steps + self.done
            self.model.stop_training = True
        if self.seen == 1:
            # The first step compiles.
            self._began = time.monotonic()
            return
        now = time.monotonic()
        left = (self.epochs - self.epoch) * self.steps - self.done
        seconds = left * (now - self._began) / (self.seen - 1)
        facts = (
            f"loss {loss:.3f}, {self.rate:,.0f} images/s, {clock(seconds)} left"
        )
        self._bar.update(self._task, completed=self.done, facts=facts)
        silent = self.shown and self._bar.disable
        if silent and now - self._spoke >= QUIET_SECONDS:
            self._spoke = now
            CONSOLE.print(
                f"epoch {self.epoch + 1}/{self.epochs}, step "
                f"{self.done}/{self.steps}: {facts}"
            )

    def on_test_begin(self, logs: dict | None = None) -> None:
        self._bar.update(
            self._task, description="evaluating", facts="", total=None
        )
        self._bar.start()

    def on_test_end(self, logs: dict | None = None) -> None:
        self._bar.stop()

    @property
    def rate(self) -> float:
        """Images per second since the first step of this process."""
        passed = time.monotonic() - self._began
        return (self.seen - 1) * self.batch_size / max(passed, 1e-9)


def clock(seconds: float) -> str:
    """Return a time as hours, minutes and seconds."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}"


def line(epoch: int, epochs: int, row: dict[str, Any], measured: str) -> str:
    """Return the line to print after an epoch."""
    return (
        f"epoch {epoch + 1}/{epochs}: loss {row['loss']:.4f}, {measured}, "
        f"lr {row['learning_rate']:.3g}, "
        f"{row['images_per_second']:,.0f} images/s"
    )
