"""How weights are changed: the optimizer and all that goes with it, by Keras's own parts."""

from dataclasses import dataclass, fields
from typing import Any, Self

import keras
import numpy as np
from keras.optimizers import schedules

OPTIMIZERS = {
    "rmsprop": keras.optimizers.RMSprop,
    "adam": keras.optimizers.Adam,
    "adamw": keras.optimizers.AdamW,
    "sgd": keras.optimizers.SGD,
}
# What shifts and scales, and no product: decay would only pull it from where the data has it.
NOT_DECAYED = ["bias", "gamma", "beta"]


@dataclass(frozen=True)
class Recipe:
    """How weights are changed.

    Attributes:
        optimizer: rmsprop, adam, adamw or sgd.
        learning_rate: of the optimizer, at its highest.
        epochs: passes over the training split, at most.
        class_weight: none, or balanced: classes count alike, however many pictures each has.
        patience: epochs without a lower validation loss after which training ends; None: none.
        schedule: constant; cosine, down to 0; or step, a tenth after half of the epochs and a
            hundredth after three quarters.
        warmup: epochs over which the learning rate rises from 0, at the schedule's cost.
        weight_decay: decoupled, of kernels alone: each step takes off so much times the rate.
        label_smoothing: share of each training label that is spread evenly over the classes.
        ema: momentum of the moving average of the weights, which is what is validated and kept.
        clip: largest norm of all gradients together.
    """

    optimizer: str
    learning_rate: float
    epochs: int
    class_weight: str = "none"
    patience: int | None = None
    schedule: str = "constant"
    warmup: int = 0
    weight_decay: float = 0.0
    label_smoothing: float = 0.0
    ema: float | None = None
    clip: float | None = None

    @classmethod
    def of(cls, section: object, **given: Any) -> Self:
        """Take what has these names from a section of the parameters, but for what is given."""
        names = [field.name for field in fields(cls) if hasattr(section, field.name)]
        return cls(**({name: getattr(section, name) for name in names} | given))

    def in_words(self) -> str:
        """Say it: `rmsprop at 0.00001, 5 epochs, balanced class weights`."""
        rate = np.format_float_positional(self.learning_rate, trim="-")
        parts = (
            f"{self.optimizer} at {rate}",
            "" if self.schedule == "constant" else f"{self.schedule} schedule",
            f"{_epochs(self.warmup)} of warm-up" if self.warmup else "",
            f"{'up to ' if self.patience else ''}{_epochs(self.epochs)}",
            f"a patience of {self.patience}" if self.patience else "",
            f"weight decay {self.weight_decay:g}" if self.weight_decay else "",
            f"label smoothing {self.label_smoothing:g}" if self.label_smoothing else "",
            f"weights averaged with momentum {self.ema:g}" if self.ema else "",
            f"gradients clipped to {self.clip:g}" if self.clip else "",
            "balanced class weights" if self.class_weight == "balanced" else "",
        )
        return ", ".join(filter(None, parts))

    def rates(self, steps: int) -> float | schedules.LearningRateSchedule:
        """Return the learning rate, or what gives it by the step, for so many steps in an epoch."""
        rate, total = self.learning_rate, self.epochs * steps
        last = [total // 2 - 1, total * 3 // 4 - 1]  # steps of the first two rates
        found = {
            "constant": rate,
            "cosine": schedules.CosineDecay(rate, total),
            "step": schedules.PiecewiseConstantDecay(last, [rate, rate / 10, rate / 100]),
        }[self.schedule]
        return WarmUp(found, self.warmup * steps) if self.warmup else found

    def made(self, steps: int) -> keras.optimizers.Optimizer:
        """Make the optimizer, for so many steps in an epoch."""
        options: dict[str, Any] = {"learning_rate": self.rates(steps)}
        if self.weight_decay or self.optimizer == "adamw":  # whose own default is not 0
            options["weight_decay"] = self.weight_decay
        if self.ema:
            options |= {"use_ema": True, "ema_momentum": self.ema}
        if self.clip:
            options["global_clipnorm"] = self.clip
        optimizer = OPTIMIZERS[self.optimizer](**options)
        optimizer.exclude_from_weight_decay(var_names=NOT_DECAYED)
        return optimizer


class WarmUp(schedules.LearningRateSchedule):
    """A straight line from 0 up to another schedule: Keras has it before its cosine alone."""

    def __init__(self, rate: float | schedules.LearningRateSchedule, steps: int) -> None:
        """Rise to `rate` over so many steps."""
        self.rate = rate
        self.steps = steps

    def __call__(self, step: Any) -> Any:
        """Return the learning rate of a step, counted from 0."""
        rate = self.rate(step) if callable(self.rate) else self.rate
        return rate * keras.ops.minimum((keras.ops.cast(step, "float32") + 1) / self.steps, 1)


def _epochs(number: int) -> str:
    return f"{number} epoch{'' if number == 1 else 's'}"
