"""Train the small network from scratch, on the pictures as they are."""

from classifier.base.errors import one_line_errors
from classifier.base.params import load_params
from classifier.networks.from_scratch import train_from_scratch
from classifier.training.recipe import Recipe


def main() -> None:
    """Write the baseline model, its metrics and learning curve."""
    params = load_params()
    train = params.train
    train_from_scratch(
        "baseline",
        train.arch,
        Recipe.of(train),
        batch_size=train.batch_size,
        seed=params.seed,
        precision=train.precision,
    )


if __name__ == "__main__":
    with one_line_errors():
        main()
