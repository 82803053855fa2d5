"""Transfer: a new head on a backbone's frozen features, then its last blocks as well."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from classifier.base.errors import UserError
from classifier.base.splits import Split, read_split
from classifier.training.augmentation import Augmentation, augment
from classifier.training.batches import Batches, Prepare
from classifier.training.checkpoint import checkpoint_path
from classifier.training.fit import History, fit, start, write_curve
from classifier.training.recipe import Recipe
from classifier.training.results import CURVES, write_results
from classifier.training.saving import in_float32
from classifier.transfer.backbone import Backbone, cut
from classifier.transfer.features import frozen_features
from classifier.transfer.winograd import accelerated

WEIGHTS = Path("data/weights")


def finetune(
    name: str,
    backbone: Backbone,
    *,
    head: str,
    options: Mapping[str, Any],
    weights: str,
    head_recipe: Recipe,
    block_recipe: Recipe,
    batch_size: int,
    unfreeze: int,
    augmentation: Augmentation | None,
    views: int | None,
    seed: int,
    precision: str,
) -> None:
    """Train the head, then the last blocks with it; keep the best epoch of both; write the results.

    Args:
        name: of the model.
        backbone: that is trained on.
        head: one of the backbone's; with a classifier its blocks and dense layers stay frozen.
        options: of the head's builder, such as dropout.
        weights: none leaves the backbone's weights random; otherwise they come from `WEIGHTS`.
        head_recipe: of the head alone, on features computed once.
        block_recipe: of the last blocks with the head.
        batch_size: pictures a step.
        unfreeze: so many of the backbone's blocks, from the last, are trained with the head.
        augmentation: of the pictures that blocks are trained on; None leaves them as they are.
        views: augmented copies of each picture, drawn once; None draws fresh ones in every epoch.
        seed: of weights, order, augmentation and dropout.
        precision: auto, or a Keras dtype policy.

    Raises:
        UserError: the backbone has no such head or fewer blocks, its weights' file holds others, or
            no epoch of the head ended with a finite validation loss.
    """
    if head not in backbone.build:
        raise UserError(
            f"finetune.head is {head}, {backbone.title} has {' or '.join(backbone.build)}"
        )
    train, validation = read_split("train"), read_split("validation")
    image_size, classes = train.images.shape[1], len(train.classes)
    chosen = start(seed, precision)
    folder = WEIGHTS / backbone.name
    found = next(folder.glob("*.h5"), folder / f"{backbone.name}.h5")

    def build(file: Path | None = None) -> keras.Sequential:
        return backbone.build[head](image_size, classes, file, **options)

    model = accelerated(build(None if weights == "none" else found), len(train) + len(validation))
    run = _Run(name, train, validation, batch_size, seed)
    head_after = backbone.head_starts_after[head]
    never_trained = backbone.never_trained(head, unfreeze, block_recipe.epochs)
    history, checkpoint = run.head(model, head_after, head_recipe, never_trained)
    history.check_finite(head_recipe)
    checkpoints = [checkpoint]
    if head == "classifier":
        print("finetune.head is classifier: the new layer alone is trained, no block with it")
    elif never_trained != head_after:
        best_of_head = model.get_weights()
        later, checkpoint = run.blocks(
            model, never_trained, block_recipe, augmentation, views, history
        )
        checkpoints.append(checkpoint)
        whole = history.followed_by(later)
        if whole.best == history.best:
            print("no epoch of the blocks was better than the head's best, which is kept")
            model.set_weights(best_of_head)
        history = whole

    told = in_words(backbone, head, options, weights, head_recipe, batch_size)
    if never_trained != head_after:
        told += f"; then {blocks_in_words(unfreeze, block_recipe, augmentation, views)}"
    note = "random weights: no transfer without imagenet" if weights == "none" else ""
    write_results(name, in_float32(model, build), train.classes, history, chosen, told, note)
    for checkpoint in checkpoints:
        checkpoint.unlink(missing_ok=True)  # an equal run beside this one may have been first


def in_words(
    backbone: Backbone,
    head: str,
    options: Mapping[str, Any],
    weights: str,
    recipe: Recipe,
    batch_size: int,
) -> str:
    """Say how the head is trained, and on what."""
    source = {"imagenet": "ImageNet weights", "none": "random weights"}.get(
        weights, f"the weights of {weights}"
    )
    if head == "classifier":
        network = f"{backbone.title} whole with {source}, frozen but for a new output layer"
    else:
        units = options.get("dense_units")
        many = "" if units == 1 else "s"
        new = f"head of {units:,} unit{many}" if units else "output layer"
        seen = " on averaged features" if head == "average" else ""
        network = f"{backbone.title} with {source} under a new {new}{seen}"
    return f"{network}: {recipe.in_words()}, batches of {batch_size}"


def blocks_in_words(
    unfreeze: int, recipe: Recipe, augmentation: Augmentation | None, views: int | None
) -> str:
    """Say how the last blocks are trained."""
    blocks = "its last block" if unfreeze == 1 else f"its last {unfreeze} blocks"
    told = f"{blocks} as well: {recipe.in_words()}"
    if not augmentation:
        return told
    copies = f"{views} of each picture, drawn once" if views else "drawn anew in every epoch"
    return f"{told}, on augmented copies ({augmentation.in_words()}), {copies}"


@dataclass(frozen=True)
class _Run:
    """What both phases need. Each returns its history and the checkpoint that is to be deleted."""

    name: str
    train: Split
    validation: Split
    batch_size: int
    seed: int

    def head(
        self, model: keras.Sequential, cut_at: str, recipe: Recipe, never_trained: str
    ) -> tuple[History, Path]:
        """Train what follows the frozen layers on their features of the pictures as they are.

        What the blocks and the evaluation will ask for is kept on the way.
        """
        frozen, trained = cut(model, cut_at)
        checkpoint = self._checkpoint(frozen, trained, recipe, drawn=None)
        features = frozen_features(frozen, self.train, through=never_trained)
        batches = Batches([features], self.train.labels, self.batch_size, seed=self.seed)
        held_out, watch = self._held_out(frozen, never_trained), self._watch(History())
        return fit(trained, batches, held_out, recipe, checkpoint, watch), checkpoint

    def blocks(
        self,
        model: keras.Sequential,
        cut_at: str,
        recipe: Recipe,
        augmentation: Augmentation | None,
        views: int | None,
        before: History,
    ) -> tuple[History, Path]:
        """Train the last blocks and the head from where the head's best epoch left them."""
        frozen, trained = cut(model, cut_at)
        checkpoint = self._checkpoint(frozen, trained, recipe, drawn=(augmentation, views))
        inputs, prepare = self._inputs(frozen, augmentation, views)
        batches = Batches(
            inputs, self.train.labels, self.batch_size, seed=self.seed, prepare=prepare
        )
        held_out, watch = self._held_out(frozen), self._watch(before)
        return fit(trained, batches, held_out, recipe, checkpoint, watch), checkpoint

    def _watch(self, before: History) -> Callable[[History], None]:
        """Write the curve while it grows."""
        path = CURVES / f"{self.name}.tsv"
        return lambda history: write_curve(path, before.followed_by(history).rows)

    def _inputs(
        self, frozen: keras.Sequential, augmentation: Augmentation | None, views: int | None
    ) -> tuple[list[NDArray], Prepare | None]:
        """Return the arrays that batches are drawn from, and what is done to a batch of them."""
        if not augmentation:
            return [frozen_features(frozen, self.train)], None
        if not views:
            return [self.train.images], _fresh_views(frozen, augmentation)
        seeds = range(self.seed * views, (self.seed + 1) * views)
        return [
            frozen_features(frozen, self.train, augmentation=augmentation, seed=seed)
            for seed in seeds
        ], None

    def _checkpoint(
        self, frozen: keras.Sequential, trained: keras.Sequential, recipe: Recipe, drawn: object
    ) -> Path:
        settings = (recipe, self.batch_size, self.seed, drawn)
        return checkpoint_path(
            [frozen, trained], [self.train, self.validation], settings, "transfer"
        )

    def _held_out(self, frozen: keras.Sequential, through: str | None = None) -> Batches:
        features = frozen_features(frozen, self.validation, through=through)
        return Batches([features], self.validation.labels, self.batch_size)


def _fresh_views(frozen: keras.Sequential, augmentation: Augmentation) -> Prepare:
    """Augment the batch and pass it through the frozen layers, where no gradient is needed."""
    lock = threading.Lock()  # batches are prepared in two threads; a Keras model is for one

    def prepare(images: NDArray, rng: np.random.Generator) -> NDArray:
        copies = augment(images, augmentation, rng)
        with lock:
            return frozen.predict_on_batch(copies)

    return prepare
