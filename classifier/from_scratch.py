"""Training a network of the registry from random weights."""

from functools import partial

from classifier.augmentation import Augmentation, augment
from classifier.batches import Batches
from classifier.models import in_float32
from classifier.networks import NETWORKS, plain_block, pooled_block
from classifier.resident import fit_resident, pays_off
from classifier.results import write_results
from classifier.splits import read_split
from classifier.training import Recipe, checkpoint_path, fit, start


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
) -> None:
    """Train on data/splits, keep the best epoch, write the results.

    Args:
        name: of the model.
        arch: its key in `NETWORKS`.
        recipe: how weights are changed.
        batch_size: pictures a step.
        seed: of weights, order, augmentation and dropout.
        precision: auto, or a Keras dtype policy.
        dropout: before the output unit.
        augmentation: of the training pictures; None leaves them as they are.

    Raises:
        UserError: no epoch ended with a finite validation loss.
    """
    train, validation = read_split("train"), read_split("validation")
    image_size, classes = train.images.shape[1], len(train.classes)
    chosen = start(seed, precision)
    build = partial(NETWORKS[arch], image_size, classes, dropout)
    arithmetic_bound = chosen.device == "cpu" and chosen.policy == "float32"
    model = build(pooled_block if arithmetic_bound else plain_block)
    settings = (recipe, batch_size, seed, augmentation)
    checkpoint = checkpoint_path([model], [train, validation], settings)
    if pays_off(chosen.device, train, validation):
        history = fit_resident(
            model,
            train,
            validation,
            recipe,
            checkpoint,
            batch_size=batch_size,
            seed=seed,
            augmentation=augmentation,
        )
    else:
        prepare = (lambda images, rng: augment(images, augmentation, rng)) if augmentation else None
        batches = Batches([train.images], train.labels, batch_size, seed=seed, prepare=prepare)
        held_out = Batches([validation.images], validation.labels, batch_size)
        history = fit(model, batches, held_out, recipe, checkpoint)
    history.check_finite(recipe)
    plain = in_float32(model, partial(build, plain_block))
    write_results(name, plain, train.classes, history, chosen)
    checkpoint.unlink(missing_ok=True)  # an equal training beside this one may have been first
