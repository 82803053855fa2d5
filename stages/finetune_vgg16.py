"""Train a new head on VGG16's frozen features, then VGG16's last blocks together with it."""

from classifier.base.errors import one_line_errors
from classifier.base.params import load_params
from classifier.training.augmentation import Augmentation
from classifier.training.fit import Recipe
from classifier.transfer.finetune import finetune_vgg16


def main() -> None:
    params = load_params()
    finetune, class_weight = params.finetune, params.train.class_weight
    finetune_vgg16(
        "vgg16",
        head=finetune.head,
        weights=finetune.weights,
        dense_units=finetune.dense_units,
        dropout=finetune.dropout,
        head_recipe=Recipe(
            finetune.optimizer, finetune.head_learning_rate, finetune.head_epochs, class_weight
        ),
        block_recipe=Recipe(
            finetune.optimizer, finetune.learning_rate, finetune.epochs, class_weight
        ),
        batch_size=finetune.batch_size,
        unfreeze=finetune.unfreeze,
        augmentation=Augmentation.of(params.augment) if finetune.augment else None,
        views=finetune.views,
        seed=params.seed,
        precision=params.train.precision,
    )


if __name__ == "__main__":
    with one_line_errors():
        main()
