"""Training: epochs that can be interrupted, the best of them kept, a learning curve."""

import json
import math
import sys
import time
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from classifier.base.errors import UserError
from classifier.base.files import whole, write_text
from classifier.training.batches import Batches
from classifier.training.outputs import loss_for, soft_accuracy, soft_labels
from classifier.training.precision import Precision, choose
from classifier.training.recipe import Recipe

CURVE = (
    "epoch",
    "train_loss",
    "validation_loss",
    "train_accuracy",
    "validation_accuracy",
    "learning_rate",
)


@dataclass
class History:
    """What has happened so far.

    Attributes:
        rows: the learning curve, one dictionary of `CURVE` an epoch.
        best: position in `rows` of the epoch of lowest validation loss.
    """

    rows: list[dict[str, float]] = field(default_factory=list)
    best: int = 0

    @property
    def lowest(self) -> float:
        """The lowest validation loss; not finite where no epoch's was."""
        return self.rows[self.best]["validation_loss"] if self.rows else math.inf

    def check_finite(self, recipe: Recipe) -> None:
        """Refuse a training that taught nothing.

        Raises:
            UserError: no epoch ended with a finite validation loss.
        """
        if not math.isfinite(self.lowest):
            raise UserError(
                f"the training diverged: the validation loss is {self.lowest} in each of "
                f"{len(self.rows)} epochs; lower the learning rate, which is {recipe.learning_rate}"
            )

    def ended(self, recipe: Recipe) -> bool:
        """Whether no epoch is left, or patience has run out."""
        # Where no loss was finite, `best` is only the last epoch.
        waited = len(self.rows) - (self.best + 1 if math.isfinite(self.lowest) else 0)
        impatient = recipe.patience is not None and waited >= recipe.patience
        return len(self.rows) >= recipe.epochs or impatient

    def followed_by(self, later: "History") -> "History":
        """Join this training and one that went on from its best epoch."""
        before = len(self.rows)
        rows = [*self.rows, *(row | {"epoch": before + row["epoch"]} for row in later.rows)]
        # What is not a number is not lower.
        return History(rows, before + later.best if later.lowest < self.lowest else self.best)


def start(seed: int, precision: str) -> Precision:
    """Make this process's training repeatable, in the precision that suits the machine."""
    chosen = choose(precision)
    print(f"precision: {chosen.policy} ({chosen.reason})")
    # Keras's own defaults, whatever ~/.keras/keras.json says.
    keras.config.set_floatx("float32")
    keras.config.set_epsilon(1e-7)
    keras.config.set_image_data_format("channels_last")
    keras.config.set_dtype_policy(chosen.policy)
    keras.utils.set_random_seed(seed)
    return chosen


def fit(
    model: keras.Model,
    train: Batches,
    validation: Batches,
    recipe: Recipe,
    checkpoint: Path,
    watch: Callable[[History], None] = lambda history: None,
) -> History:
    """Train `model` and leave the weights of the epoch with the lowest validation loss in it.

    After every epoch the whole state goes to `checkpoint`. When that file exists, training goes on
    from it, and ends with the very weights that it would have ended with undisturbed. The file
    stays: whoever keeps the result deletes it. A damaged one is left aside.

    Args:
        model: maps a batch of inputs to probabilities.
        train: shuffled.
        validation: in order.
        recipe: how to train.
        checkpoint: a path that nothing else uses, different for different inputs and parameters.
        watch: is given the history when training goes on, and after each epoch.
    """
    soft = bool(recipe.label_smoothing or train.mix)
    if soft:
        units = model.output_shape[-1]
        train.targets = soft_labels(train.labels, units, recipe.label_smoothing)
        validation.targets = soft_labels(validation.labels, units)
    accuracy = keras.metrics.MeanMetricWrapper(soft_accuracy, "accuracy") if soft else "accuracy"
    optimizer = recipe.made(len(train))
    model.compile(optimizer=optimizer, loss=loss_for(model, soft=soft), metrics=[accuracy])
    model.optimizer.build(model.trainable_variables)
    keeper = _Keeper(checkpoint, train, recipe, watch)
    keeper.set_model(model)
    history = keeper.restore()
    if history.rows:
        watch(history)
    if not history.ended(recipe):
        model.fit(
            train,
            validation_data=validation,
            initial_epoch=len(history.rows),
            epochs=recipe.epochs,
            class_weight=_class_weights(train.labels, recipe.class_weight),
            callbacks=[keeper],
            # The batches are shuffled already. Keras would shuffle their order once more, from a
            # generator whose state an interrupted training does not get back.
            shuffle=False,
            verbose=1 if sys.stdout.isatty() else 2,  # a bar, or a line an epoch
        )
    model.set_weights(keeper.best_weights)
    return history


def _class_weights(labels: NDArray[np.int64], mode: str) -> dict[int, float] | None:
    """Weigh each class by n / (classes · count): classes count alike, the mean weight is 1."""
    if mode == "none":
        return None
    counts = np.bincount(labels)
    return {k: len(labels) / (len(counts) * count) for k, count in enumerate(counts) if count}


class _Keeper(keras.callbacks.Callback):
    """Keeps the curve, the best weights, and all that is needed to go on after an interruption."""

    def __init__(
        self, path: Path, train: Batches, recipe: Recipe, watch: Callable[[History], None]
    ) -> None:
        super().__init__()
        self.path = path
        self.train = train
        self.recipe = recipe
        self.watch = watch
        self.rates = recipe.rates(len(train))
        self.history = History()
        self.best_weights: list[NDArray] = []

    def restore(self) -> History:
        variables = self._variables()
        try:
            with np.load(self.path) as saved:
                history = History(**json.loads(str(saved["history"])))
                values = [saved[f"variable{number}"] for number in range(len(variables))]
                best = [saved[f"best{number}"] for number in range(len(self.model.weights))]
        except FileNotFoundError:
            return self.history
        except (EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error):
            print(f"{self.path.name} is damaged: starting anew")
            return self.history
        self.history, self.best_weights = history, best
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)
        print(f"going on after epoch {len(self.history.rows)}, from {self.path.name}")
        return self.history

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self.first = len(self.history.rows)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.train.start_epoch(epoch)
        self.started = time.monotonic()

    def on_test_begin(self, logs: dict[str, Any] | None = None) -> None:
        if self.recipe.ema:
            self.trained = self.model.get_weights()
            # Puts the averages into the model.
            self.model.optimizer.finalize_variable_values(self.model.trainable_variables)

    def on_test_end(self, logs: dict[str, Any] | None = None) -> None:
        self.validated = self.model.get_weights()
        if self.recipe.ema:
            self.model.set_weights(self.trained)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        logs = logs or {}
        lowest, loss = self.history.lowest, logs["val_loss"]
        self.history.rows.append(
            {
                "epoch": epoch + 1,
                "train_loss": logs["loss"],
                "validation_loss": loss,
                "train_accuracy": logs["accuracy"],
                "validation_accuracy": logs["val_accuracy"],
                "learning_rate": self._rate(),
            }
        )
        if loss < lowest or not math.isfinite(lowest):
            self.history.best = epoch
            self.best_weights = self.validated
        with whole(self.path) as beside:
            arrays: dict[str, Any] = {"history": json.dumps(asdict(self.history))}
            arrays |= {f"variable{i}": np.asarray(v) for i, v in enumerate(self._variables())}
            arrays |= {f"best{i}": weights for i, weights in enumerate(self.best_weights)}
            np.savez(beside, **arrays)
        self.watch(self.history)
        left = self.recipe.epochs - epoch - 1
        if left and self.history.ended(self.recipe):
            self.model.stop_training = True
            print(
                f"ended after epoch {epoch + 1}: no lower validation loss in "
                f"{self.recipe.patience} epochs"
            )
        elif left and epoch == self.first:
            seconds = time.monotonic() - self.started
            print(
                f"an epoch takes {seconds:.1f} s; {left} more: about {seconds * left / 60:.0f} min"
            )

    def _rate(self) -> float:
        """Return the learning rate of the last step."""
        if isinstance(self.rates, float):
            return self.rates
        return float(self.rates(self.model.optimizer.iterations - 1))

    def _variables(self) -> list[Any]:
        """Weights, the states of random generators, and the optimizer's; not the metrics'."""
        metrics = {id(variable) for variable in self.model.metrics_variables}
        own = [variable for variable in self.model.variables if id(variable) not in metrics]
        return [*own, *self.model.optimizer.variables]


def write_curve(path: Path, rows: Sequence[dict[str, float]]) -> None:
    """Write a learning curve as tab-separated text, for `dvc plots`."""
    lines = ["\t".join(CURVE)]
    lines += ["\t".join(format(row[column], ".6g") for column in CURVE) for row in rows]
    write_text(path, "\n".join(lines) + "\n")
