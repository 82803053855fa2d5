"""Train a new head on VGG16's frozen features, then VGG16's last blocks together with it."""

from classifier.base.errors import one_line_errors
from classifier.base.params import load_params
from classifier.training.augmentation import Augmentation
from classifier.training.recipe import Recipe
from classifier.transfer.finetune import finetune
from classifier.transfer.vgg16 import VGG16


def main() -> None:
    """Write VGG16's model, metrics and learning curve."""
    params = load_params()
    section, class_weight = params.finetune, params.train.class_weight
    options = {"dense_units": section.dense_units, "dropout": section.dropout}
    finetune(
        "vgg16",
        VGG16,
        head=section.head,
        options={} if section.head == "classifier" else options,
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
