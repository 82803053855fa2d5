"""Train a new head on VGG16's frozen features, then VGG16's last blocks together with it."""

from classifier.errors import one_line_errors
from classifier.params import load_params


def main() -> None:
    params = load_params()
    finetune, augment = params.finetune, params.augment

    from classifier.augmentation import Augmentation
    from classifier.transfer import Phase, finetune_vgg16

    finetune_vgg16(
        "vgg16",
        head=finetune.head,
        weights=finetune.weights,
        dense_units=finetune.dense_units,
        dropout=finetune.dropout,
        optimizer=finetune.optimizer,
        batch_size=finetune.batch_size,
        head_phase=Phase(finetune.head_epochs, finetune.head_learning_rate),
        block_phase=Phase(finetune.epochs, finetune.learning_rate),
        unfreeze=finetune.unfreeze,
        augmentation=Augmentation(
            augment.flip, augment.rotation, augment.zoom, augment.keep_aspect, augment.shift
        )
        if finetune.augment
        else None,
        views=finetune.views,
        class_weight=params.train.class_weight,
        seed=params.seed,
        precision=params.train.precision,
    )


if __name__ == "__main__":
    with one_line_errors():
        main()
