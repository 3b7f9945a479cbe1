"""Ctrl-C and SIGTERM: the step ends, the run is saved, and then it stops."""

import signal
from types import FrameType
from types import TracebackType

import keras


class Stopping(keras.callbacks.Callback):
    """Stops training after the step in which a signal came.

    With several processes each would stop after a step of its own and wait
    for the others for ever: there signals end a process at once, as usual.

    Args:
        alone: Whether this is the only process.
    """

    SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self, alone: bool) -> None:
        super().__init__()
        self.signals = self.SIGNALS if alone else ()
        self.received: signal.Signals | None = None

    def __enter__(self) -> "Stopping":
        self._before = {each: signal.getsignal(each) for each in self.signals}
        for each in self.signals:
            signal.signal(each, self._receive)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for each, handler in self._before.items():
            signal.signal(each, handler)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self.received = signal.Signals(number)
        # Whoever is impatient sends another one.
        for each in self.signals:
            signal.signal(each, self._before[each])

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        if self.received is not None:
            self.model.stop_training = True
