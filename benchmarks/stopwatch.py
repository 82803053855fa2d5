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
    # They come from several threads, in any order.
    async_safe = True

    def __init__(
        self,
        report: Callable[[dict[str, float]], None],
        wait: Callable[[], object] = lambda: None,
        stop_after: int | None = None,
    ) -> None:
        """Describe what is done with an epoch's seconds, and before; so many steps may end it."""
        super().__init__()
        self.report, self.wait, self.stop_after = report, wait, stop_after

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Wait as long as `wait` does, then start the clock."""
        self.wait()
        self.steps: list[float] = []  # when each ended
        self.validations: list[float] = []
        self.began = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Note when a step ended; end the training after `stop_after` steps."""
        self.steps.append(time.perf_counter())
        if batch + 1 == self.stop_after:
            self.model.stop_training = True

    def on_test_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Start the clock of the validation."""
        self.validation_began = time.perf_counter()

    def on_test_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Note when a step of the validation ended."""
        self.validations.append(time.perf_counter())

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Report the epoch's seconds and how many steps there were."""
        self.report(
            {
                "first": min(self.steps) - self.began,
                "train": max(self.steps) - self.began,
                "steps": len(self.steps),
                "validation": max(self.validations) - self.validation_began,
                "validation_steps": len(self.validations),
                "epoch": time.perf_counter() - self.began,
            }
        )
