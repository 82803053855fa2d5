"""Train a new output on MobileNet's frozen features, then MobileNet's last blocks with it."""

from classifier.base.errors import one_line_errors
from classifier.base.params import load_params
from classifier.training.augmentation import Augmentation
from classifier.training.recipe import Recipe
from classifier.transfer.finetune import finetune
from classifier.transfer.mobilenet import MOBILENET


def main() -> None:
    """Write MobileNet's model, metrics and learning curve."""
    params = load_params()
    section, class_weight = params.mobilenet, params.train.class_weight
    finetune(
        "mobilenet",
        MOBILENET,
        head="linear",
        options={"dropout": section.dropout},
        weights=section.weights,
        head_recipe=Recipe.of(
            section,
            learning_rate=section.head_learning_rate,
            epochs=section.head_epochs,
            class_weight=class_weight,
        ),
        block_recipe=Recipe.of(section, class_weight=class_weight),
        batch_size=section.batch_size,
        unfreeze=section.unfreeze,
        augmentation=Augmentation.of(params.augment) if section.augment else None,
        views=section.views,
        seed=params.seed,
        precision=params.train.precision,
    )


if __name__ == "__main__":
    with one_line_errors():
        main()
