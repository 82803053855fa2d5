"""Train the same network behind random flips, rotations and zooms, with dropout."""

from classifier.base.errors import one_line_errors
from classifier.base.params import load_params
from classifier.networks.from_scratch import train_from_scratch
from classifier.training.augmentation import Augmentation
from classifier.training.fit import Recipe


def main() -> None:
    params = load_params()
    train, augment = params.train, params.augment
    epochs = augment.epochs or train.epochs
    train_from_scratch(
        "augmented",
        train.arch,
        Recipe(train.optimizer, train.learning_rate, epochs, train.class_weight),
        batch_size=train.batch_size,
        seed=params.seed,
        precision=train.precision,
        dropout=augment.dropout,
        augmentation=Augmentation.of(augment),
    )


if __name__ == "__main__":
    with one_line_errors():
        main()
