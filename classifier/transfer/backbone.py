"""What fine-tuning must know of a pre-trained network."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import keras
from keras import layers

from classifier.base.errors import UserError
from classifier.training.outputs import output_unit


@dataclass(frozen=True)
class Backbone:
    """A pre-trained network, with the places where it can be cut.

    Attributes:
        name: of the folder in data/weights with its weights' file.
        title: that the report calls it by.
        build: by the head's name, from image size, number of classes, weights' file or None, and
            the head's own options to a Sequential model.
        head_starts_after: by the head's name, the last layer that does not change while the head is
            trained on it.
        block_ends: the last layers of the preprocessing and of each block, from first to last.
    """

    name: str
    title: str
    build: Mapping[str, Callable[..., keras.Sequential]]
    head_starts_after: Mapping[str, str]
    block_ends: tuple[str, ...]

    def frozen_up_to(self, unfrozen: int) -> str:
        """Name the last frozen layer when so many blocks are trained.

        Raises:
            UserError: there are fewer blocks.
        """
        blocks = len(self.block_ends) - 1
        if not 0 <= unfrozen <= blocks:
            raise UserError(f"unfreeze is {unfrozen}, {self.title} allows: 0 to {blocks}")
        return self.block_ends[blocks - unfrozen]

    def never_trained(self, head: str, unfrozen: int, epochs: int) -> str:
        """Name the last layer that no phase of a training changes.

        Args:
            head: one of the backbone's.
            unfrozen: so many blocks are trained with it.
            epochs: of those blocks.
        """
        if head == "classifier" or not (unfrozen and epochs):
            return self.head_starts_after[head]
        return self.frozen_up_to(unfrozen)


def cut(
    model: keras.Sequential, name: str, inputs: tuple[str | None, str | None] = (None, None)
) -> tuple[keras.Sequential, keras.Sequential]:
    """Cut a network after the named layer.

    Args:
        model: a chain of layers.
        name: of a layer.
        inputs: names of the two inputs; Keras numbers those without one, and goes on from there in
            what is built and saved later.

    Returns:
        The layers up to it and those after it, as models that share the network's weights.
    """
    end = [layer.name for layer in model.layers].index(name) + 1
    # Their own names are in a checkpoint's: Keras would number them by what was built before.
    first = keras.Sequential(
        [keras.Input(batch_shape=model.input_shape, dtype="uint8", name=inputs[0])],
        name=f"{model.name}_to_{name}",
    )
    for layer in model.layers[:end]:
        first.add(layer)
    second = keras.Sequential(
        [keras.Input(batch_shape=first.output_shape, name=inputs[1])],
        name=f"{model.name}_after_{name}",
    )
    for layer in model.layers[end:]:
        second.add(layer)
    return first, second


def dense_head(classes: int, dense_units: int, dropout: float) -> list[keras.Layer]:
    """Make the layers from a backbone's flat features to the probabilities of new classes."""
    return [
        layers.Dense(dense_units, activation="relu", name="dense"),
        layers.Dropout(dropout, name="dropout"),
        output_unit(classes),
    ]


def load_weights(model: keras.Model, file: Path | None, what: str) -> None:
    """Load pre-trained weights; None leaves the random ones.

    Args:
        model: that they fit.
        file: of Keras's making, old or new.
        what: the file has to hold, for the message.

    Raises:
        UserError: it does not.
    """
    if not file:
        return
    try:
        model.load_weights(file)
    except (OSError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{file} does not hold {what}: {reason}") from error
