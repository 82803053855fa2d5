"""Train the same network behind random flips, rotations and zooms, with dropout."""

from classifier.base.errors import one_line_errors
from classifier.base.params import load_params
from classifier.networks.from_scratch import train_from_scratch
from classifier.training.augmentation import Augmentation
from classifier.training.mixing import Mixing
from classifier.training.recipe import Recipe


def main() -> None:
    """Write the augmented model, its metrics and learning curve."""
    params = load_params()
    train, augment = params.train, params.augment
    train_from_scratch(
        "augmented",
        train.arch,
        Recipe.of(train, epochs=augment.epochs or train.epochs),
        batch_size=train.batch_size,
        seed=params.seed,
        precision=train.precision,
        dropout=augment.dropout,
        augmentation=Augmentation.of(augment),
        training_size=augment.image_size,
        mixing=Mixing(augment.mixup, augment.cutmix),
    )


if __name__ == "__main__":
    with one_line_errors():
        main()
