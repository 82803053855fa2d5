"""Training a network of the registry from random weights."""

from collections.abc import Callable
from functools import partial
from importlib import import_module

import keras
import numpy as np
from numpy.typing import NDArray

from classifier.base.splits import read_split
from classifier.training.augmentation import Augmentation, augment
from classifier.training.batches import Batches
from classifier.training.checkpoint import checkpoint_path
from classifier.training.fit import History, fit, start, write_curve
from classifier.training.fused import fused
from classifier.training.mixing import Mixing
from classifier.training.recipe import Recipe
from classifier.training.results import CURVES, write_results
from classifier.training.saving import in_float32


def network(arch: str) -> Callable[[int | None, int, float], keras.Model]:
    """Find a network's builder: the function NAME of classifier/networks/NAME.py.

    It takes the image size in pixels (None, any, for those of `OF_ANY_SIZE`), the number of classes
    and the dropout, and returns a Sequential or functional model of plain Keras layers, from uint8
    [n, size, size, 3] to probabilities in float32.
    """
    builder: Callable[[int | None, int, float], keras.Model]
    builder = getattr(import_module(f"classifier.networks.{arch}"), arch)
    return builder


def train_from_scratch(
    name: str,
    arch: str,
    recipe: Recipe,
    *,
    batch_size: int,
    seed: int,
    precision: str,
    dropout: float = 0.0,
    augmentation: Augmentation | None = None,
    training_size: int | None = None,
    mixing: Mixing | None = None,
) -> None:
    """Train on data/splits, keep the best epoch, write the results.

    Args:
        name: of the model.
        arch: of the network.
        recipe: how weights are changed.
        batch_size: pictures a step.
        seed: of weights, order, augmentation and dropout.
        precision: auto, or a Keras dtype policy.
        dropout: in the places that the network has it.
        augmentation: of the training pictures; None leaves them as they are.
        training_size: of the augmented pictures, pixels, for a network of `OF_ANY_SIZE`; None: that
            of the others. Crops show things larger than whole pictures do, which smaller pictures
            make up for (Touvron et al. 2019).
        mixing: of augmented pictures with each other; None or neither way on: none.

    Raises:
        UserError: no epoch ended with a finite validation loss.
    """
    train, validation = read_split("train"), read_split("validation")
    image_size, classes = train.images.shape[1], len(train.classes)
    chosen = start(seed, precision)
    builder = network(arch)
    build = partial(builder, image_size, classes, dropout)
    model = builder(None, classes, dropout) if training_size else build()
    mix = mixing.mix if mixing and mixing.in_words() else None
    settings = (recipe, batch_size, seed, augmentation, training_size, mixing)
    checkpoint = checkpoint_path([model], [train, validation], settings, "networks")

    def prepare(images: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
        return augment(images, augmentation, rng, training_size) if augmentation else images

    batches = Batches([train.images], train.labels, batch_size, seed=seed, prepare=prepare, mix=mix)
    held_out = Batches([validation.images], validation.labels, batch_size)

    def watch(history: History) -> None:
        write_curve(CURVES / f"{name}.tsv", history.rows)

    fast = fused(model) if chosen.device == "cpu" else model
    history = fit(fast, batches, held_out, recipe, checkpoint, watch)
    history.check_finite(recipe)
    told = f"{arch} from random weights: {recipe.in_words()}, batches of {batch_size}"
    if augmentation:
        told += f", behind augmentation ({augmentation.in_words()}) and dropout {dropout:g}"
    if training_size:
        told += f", on pictures of {training_size} pixels"
    if mixing and mix:
        told += f", pictures mixed by {mixing.in_words()}"
    write_results(name, in_float32(model, build), train.classes, history, chosen, told)
    checkpoint.unlink(missing_ok=True)  # an equal training beside this one may have been first
