"""Transfer: a new head on VGG16's frozen features, then its last blocks as well."""

from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from classifier.augmentation import Augmentation, augment
from classifier.batches import Batches, Prepare
from classifier.features import frozen_features
from classifier.models import in_float32
from classifier.networks import block_end, cut, vgg16, vgg16_classifier
from classifier.resident import fit_resident, pays_off
from classifier.results import write_results
from classifier.splits import Split, read_split
from classifier.training import History, Recipe, checkpoint_path, fit, start
from classifier.winograd import accelerated

WEIGHTS = Path("data/weights")
# The last layer that does not change while a head is trained on it.
HEAD_STARTS_AFTER = {"dense": "block5_pool", "classifier": "fc2"}


@dataclass(frozen=True)
class Phase:
    """So many epochs at this learning rate."""

    epochs: int
    learning_rate: float


def finetune_vgg16(
    name: str,
    *,
    head: str,
    weights: str,
    dense_units: int,
    dropout: float,
    optimizer: str,
    batch_size: int,
    head_phase: Phase,
    block_phase: Phase,
    unfreeze: int,
    augmentation: Augmentation | None,
    views: int | None,
    class_weight: str,
    seed: int,
    precision: str,
) -> None:
    """Train the head, then the last blocks with it; keep the best epoch of both; write the results.

    Args:
        name: of the model.
        head: dense or classifier; the classifier's blocks and dense layers stay frozen.
        weights: none leaves VGG16's weights random; otherwise they come from the `WEIGHTS` folder.
        dense_units: of the dense head.
        dropout: of the dense head.
        optimizer: of both phases.
        batch_size: pictures a step.
        head_phase: the head alone, on features computed once.
        block_phase: the last blocks with the head.
        unfreeze: so many of VGG16's blocks, from the last.
        augmentation: of the pictures in the second phase; None leaves them as they are.
        views: augmented copies of each picture, drawn once; None draws fresh ones in every epoch.
        class_weight: none or balanced.
        seed: of weights, order, augmentation and dropout.
        precision: auto, or a Keras dtype policy.
    """
    train, validation = read_split("train"), read_split("validation")
    image_size, classes = train.images.shape[1], len(train.classes)
    chosen = start(seed, precision)
    file = None if weights == "none" else next(WEIGHTS.glob("vgg16.*"), WEIGHTS / "vgg16.h5")

    def build(weights_file: Path | None = None) -> keras.Sequential:
        if head == "classifier":
            return vgg16_classifier(image_size, classes, weights_file)
        return vgg16(image_size, classes, weights_file, dense_units=dense_units, dropout=dropout)

    model = accelerated(build(file), len(train) + len(validation))
    run = _Run(train, validation, batch_size, seed, chosen.device, [])

    def recipe(phase: Phase) -> Recipe:
        return Recipe(optimizer, phase.learning_rate, phase.epochs, class_weight)

    history = run.head(model, HEAD_STARTS_AFTER[head], recipe(head_phase))
    if head == "dense" and unfreeze and block_phase.epochs:
        run.blocks(model, block_end(unfreeze), recipe(block_phase), history, augmentation, views)

    write_results(name, in_float32(model, build), train.classes, history, chosen)
    for checkpoint in run.checkpoints:
        checkpoint.unlink(missing_ok=True)  # an equal run beside this one may have been first


@dataclass
class _Run:
    """The two phases share their data and leave their checkpoints to be deleted at the end."""

    train: Split
    validation: Split
    batch_size: int
    seed: int
    device: str
    checkpoints: list[Path]

    def head(self, model: keras.Sequential, cut_at: str, recipe: Recipe) -> History:
        """Train what follows the frozen layers on their features of the pictures as they are."""
        frozen, trained = cut(model, cut_at)
        features = frozen_features(frozen, self.train)
        batches = Batches([features], self.train.labels, self.batch_size, seed=self.seed)
        checkpoint = self._checkpoint(frozen, trained, recipe, drawn=None)
        return fit(trained, batches, self._held_out(frozen), recipe, checkpoint)

    def blocks(
        self,
        model: keras.Sequential,
        cut_at: str,
        recipe: Recipe,
        history: History,
        augmentation: Augmentation | None,
        views: int | None,
    ) -> None:
        """Train the last blocks too, adding to `history`; if no epoch was better, undo it."""
        train, validation = self.train, self.validation
        best_of_head = history.rows[history.best]["validation_loss"]
        weights_of_head = model.get_weights()
        frozen, trained = cut(model, cut_at)
        fresh = None if views else augmentation  # anew in every epoch
        if fresh and pays_off(self.device, train, validation):
            # Of all layers, where the other branch has one of those that are trained.
            checkpoint = self._checkpoint(frozen, trained, recipe, drawn=("resident", fresh))
            frozen.trainable = False
            later = fit_resident(
                keras.Sequential([frozen, trained]),
                train,
                validation,
                recipe,
                checkpoint,
                batch_size=self.batch_size,
                seed=self.seed,
                augmentation=fresh,
            )
        else:
            checkpoint = self._checkpoint(frozen, trained, recipe, drawn=(augmentation, views))
            batches = Batches(
                self._inputs(frozen, augmentation, views),
                train.labels,
                self.batch_size,
                seed=self.seed,
                prepare=_fresh_views(frozen, fresh) if fresh else None,
            )
            later = fit(trained, batches, self._held_out(frozen), recipe, checkpoint)
        before = len(history.rows)
        history.rows += [row | {"epoch": row["epoch"] + before} for row in later.rows]
        if later.rows[later.best]["validation_loss"] < best_of_head:
            history.best = before + later.best
        else:
            model.set_weights(weights_of_head)

    def _inputs(
        self, frozen: keras.Sequential, augmentation: Augmentation | None, views: int | None
    ) -> list[NDArray]:
        if not augmentation:
            return [frozen_features(frozen, self.train)]
        if not views:
            return [self.train.images]
        return [
            frozen_features(
                frozen, self.train, augmentation=augmentation, seed=self.seed * views + view
            )
            for view in range(views)
        ]

    def _checkpoint(
        self, frozen: keras.Sequential, trained: keras.Sequential, recipe: Recipe, drawn: object
    ) -> Path:
        checkpoint = checkpoint_path(
            [frozen, trained],
            data=[self.train.digest, self.validation.digest],
            settings=(
                recipe,
                self.batch_size,
                self.seed,
                drawn,
                self.train.labels.tolist(),
                self.validation.labels.tolist(),
            ),
        )
        self.checkpoints.append(checkpoint)
        return checkpoint

    def _held_out(self, frozen: keras.Sequential) -> Batches:
        features = frozen_features(frozen, self.validation)
        return Batches([features], self.validation.labels, self.batch_size)


def _fresh_views(frozen: keras.Sequential, augmentation: Augmentation) -> Prepare:
    """Augment the batch and pass it through the frozen layers, where no gradient is needed."""

    def prepare(images: NDArray, rng: np.random.Generator) -> NDArray:
        return frozen.predict_on_batch(augment(images, augmentation, rng))

    return prepare
