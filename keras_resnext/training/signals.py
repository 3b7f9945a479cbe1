"""Ctrl-C and SIGTERM: stop training after the current step."""

import signal
import threading
from types import FrameType
from types import TracebackType

import keras


class StopOnSignal(keras.callbacks.Callback):
    """Callback that stops training after the step in which a signal arrives.

    Several processes would stop after different steps and wait for each other
    forever: there, signals end a process at once, as usual. So they do outside
    the main thread, where Python can't receive them.

    Args:
        alone: Whether this is the only process.
    """

    SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self, alone: bool) -> None:
        super().__init__()
        main = threading.current_thread() is threading.main_thread()
        self.signals = self.SIGNALS if alone and main else ()
        self.received: signal.Signals | None = None

    def __enter__(self) -> "StopOnSignal":
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
        # A second one ends the process at once.
        for each in self.signals:
            signal.signal(each, self._before[each])

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        if self.received is not None:
            self.model.stop_training = True
