"""What a run shows and watches while it trains."""

import math
import time
from typing import Any

import keras
import rich.console
import rich.progress

CONSOLE = rich.console.Console()
QUIET_SECONDS = 30


class Progress(keras.callbacks.Callback):
    """A bar with pictures per second and the time that is left.

    Where there is no terminal, a line each half minute takes its place.

    Args:
        epochs: Epochs of the run.
        steps: Steps of an epoch.
        batch_size: Pictures a step.
        shown: Whether this worker shows anything.
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

    def begin(self, epoch: int, first_step: int) -> None:
        """Prepares for an epoch, or what is left of it."""
        self.epoch, self.done = epoch, first_step

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        if not self._bar.tasks:
            self._began = self._spoke = time.monotonic()
            self._bar.add_task("", total=self.steps, facts="")
        self._bar.reset(
            self._bar.tasks[0].id,
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
        facts = self._facts(loss, now)
        self._bar.update(
            self._bar.tasks[0].id, completed=self.done, facts=facts
        )
        silent = self.shown and self._bar.disable
        if silent and now - self._spoke >= QUIET_SECONDS:
            self._spoke = now
            print(
                f"epoch {self.epoch + 1}/{self.epochs}, step "
                f"{self.done}/{self.steps}: {facts}",
                flush=True,
            )

    def on_test_begin(self, logs: dict | None = None) -> None:
        self._bar.update(
            self._bar.tasks[0].id, description="measuring", facts="", total=None
        )

    def on_test_end(self, logs: dict | None = None) -> None:
        self._bar.stop()

    @property
    def rate(self) -> float:
        """Pictures per second since the first step of this process."""
        passed = time.monotonic() - self._began
        return (self.seen - 1) * self.batch_size / max(passed, 1e-9)

    def _facts(self, loss: float, now: float) -> str:
        left = (self.epochs - self.epoch) * self.steps - self.done
        seconds = left * (now - self._began) / max(self.seen - 1, 1)
        return (
            f"loss {loss:.3f}, {self.rate:,.0f} pictures/s, "
            f"{clock(seconds)} left"
        )


def clock(seconds: float) -> str:
    """Hours, minutes and seconds."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}"


def line(epoch: int, epochs: int, row: dict[str, Any], measured: str) -> str:
    """What is said of an epoch when it is over."""
    return (
        f"epoch {epoch + 1}/{epochs}: loss {row['loss']:.4f}, {measured}, "
        f"rate {row['learning_rate']:.3g}, "
        f"{row['pictures_per_second']:,.0f} pictures/s"
    )
