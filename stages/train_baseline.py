"""Train the small network from scratch, on the pictures as they are."""

from classifier.errors import one_line_errors
from classifier.params import load_params


def main() -> None:
    params = load_params()
    train = params.train

    from classifier.from_scratch import train_from_scratch
    from classifier.training import Recipe

    train_from_scratch(
        "baseline",
        train.arch,
        Recipe(train.optimizer, train.learning_rate, train.epochs, train.class_weight),
        batch_size=train.batch_size,
        seed=params.seed,
        precision=train.precision,
    )


if __name__ == "__main__":
    with one_line_errors():
        main()
