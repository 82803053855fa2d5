"""What an epoch of Keras's fit spends its time on."""

import time
from collections.abc import Callable
from typing import Any

import keras


class Stopwatch(keras.callbacks.Callback):
    """Times the steps, the validation and the whole of every epoch, on either side alike.

    The clock of the steps runs from the epoch's start, not from its first step's end: while that
    one runs, the input of the next is under way already, and would go uncounted.
    """

    # What Keras hands to callbacks while the next step runs stays so: to watch must cost nothing.
    async_safe = True

    def __init__(
        self,
        report: Callable[[dict[str, float]], None],
        *,
        wait: Callable[[], object] = lambda: None,
        stop_after: int | None = None,
    ) -> None:
        """Describe what to do at both ends of an epoch.

        Args:
            report: is given, after every epoch, seconds of all steps, `train`, and of the `first`
                call among them, of the `validation` and of the whole `epoch`, and how many `steps`
                and `validation_steps` there were. The first call makes `first_steps` of the steps:
                one, or several where Keras compiles several into a call.
            wait: is called before the clock starts.
            stop_after: so many steps end the training.
        """
        super().__init__()
        self.report = report
        self.wait = wait
        self.stop_after = stop_after

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.wait()
        self.steps: dict[int, float] = {}  # when each ended
        self.validation_steps = 0
        self.validation = 0.0
        self.began = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self.steps[batch] = time.perf_counter()
        if self.stop_after and batch + 1 >= self.stop_after:
            self.model.stop_training = True

    def on_test_begin(self, logs: dict[str, Any] | None = None) -> None:
        self.validation_began = time.perf_counter()

    def on_test_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self.validation_steps = max(self.validation_steps, batch + 1)

    def on_test_end(self, logs: dict[str, Any] | None = None) -> None:
        self.validation = time.perf_counter() - self.validation_began

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        first, last = min(self.steps), max(self.steps)
        self.report(
            {
                "first": self.steps[first] - self.began,
                "first_steps": first + 1,
                "train": self.steps[last] - self.began,
                "steps": last + 1,
                "validation": self.validation,
                "validation_steps": self.validation_steps,
                "epoch": time.perf_counter() - self.began,
            }
        )
