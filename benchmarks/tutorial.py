"""The tutorial way, as Keras's documentation and chapter 8 of Chollet's book write it.

Keras's own loaders and layers, float32, TensorFlow's defaults: nothing of this project is imported
here, because classifier/__init__.py changes the latter.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers

from benchmarks.stopwatch import Stopwatch
from benchmarks.worker import Channel, evenly


def augmentation() -> keras.Sequential:
    """Build the layers that flip, rotate and zoom pictures in training."""
    return keras.Sequential(
        [layers.RandomFlip("horizontal"), layers.RandomRotation(0.1), layers.RandomZoom(0.2)]
    )


def small_network(image_size: int, *, augmented: bool = False, **_: Any) -> keras.Model:
    """Five convolutions; the second time behind augmentation and with dropout."""
    inputs = keras.Input(shape=(image_size, image_size, 3))
    x = augmentation()(inputs) if augmented else inputs
    x = layers.Rescaling(1.0 / 255)(x)
    for filters in (32, 64, 128, 256):
        x = layers.Conv2D(filters=filters, kernel_size=3, activation="relu")(x)
        x = layers.MaxPooling2D(pool_size=2)(x)
    x = layers.Conv2D(filters=256, kernel_size=3, activation="relu")(x)
    x = layers.Flatten()(x)
    if augmented:
        x = layers.Dropout(0.5)(x)
    outputs = layers.Dense(1, activation="sigmoid")(x)
    return keras.Model(inputs, outputs)


def vgg16(
    image_size: int, weights: str | None, *, last_block: bool = False, **_: Any
) -> keras.Model:
    """VGG16's base under a new head: first frozen, then with its last block trained.

    `weights` is a file with the base's; None leaves them random.
    """
    conv_base = keras.applications.VGG16(
        weights=weights, include_top=False, input_shape=(image_size, image_size, 3)
    )
    conv_base.trainable = last_block
    for layer in conv_base.layers[:-4]:
        layer.trainable = False
    inputs = keras.Input(shape=(image_size, image_size, 3))
    x = augmentation()(inputs) if last_block else inputs
    x = keras.applications.vgg16.preprocess_input(x)
    x = conv_base(x)
    x = layers.Flatten()(x)
    x = layers.Dense(256, activation="relu")(x)
    x = layers.Dropout(0.5)(x)
    outputs = layers.Dense(1, activation="sigmoid")(x)
    return keras.Model(inputs, outputs)


def train(
    build: Callable[..., keras.Model], learning_rate: float, channel: Channel, **place: Any
) -> None:
    """Train for an epoch at each command, on what is in the folder then."""
    model = build(**place)
    model.compile(
        loss="binary_crossentropy",
        optimizer=keras.optimizers.RMSprop(learning_rate),
        metrics=["accuracy"],
    )
    pictures, size = Path(place["slice"]), (place["image_size"], place["image_size"])
    callbacks = [
        keras.callbacks.ModelCheckpoint(
            filepath=pictures / "best.keras", save_best_only=True, monitor="val_loss"
        ),
        Stopwatch(channel.say),
    ]
    while channel.hear() is not None:
        train_dataset, validation_dataset = (
            keras.utils.image_dataset_from_directory(
                pictures / split, image_size=size, batch_size=place["batch_size"]
            )
            for split in ("train", "validation")
        )
        model.fit(
            train_dataset,
            epochs=1,
            validation_data=validation_dataset,
            callbacks=callbacks,
            verbose=2,
        )


def decoding(
    channel: Channel, *, pictures: str, image_size: int, batch_size: int, **_: Any
) -> None:
    """Decode so many of the pictures."""
    import tensorflow as tf

    def decoded(path: Any) -> Any:
        image = tf.io.decode_jpeg(tf.io.read_file(path), channels=3)
        return tf.image.resize(image, (image_size, image_size))

    files = (path for path in Path(pictures).rglob("*") if path.is_file())
    paths = [str(path) for path in sorted(files, key=lambda path: path.name)]

    def work(count: int) -> None:
        chosen = [paths[i] for i in evenly(len(paths), count)]
        dataset = tf.data.Dataset.from_tensor_slices(chosen)
        dataset = dataset.map(decoded, num_parallel_calls=tf.data.AUTOTUNE)
        for _ in dataset.batch(batch_size).prefetch(tf.data.AUTOTUNE):
            pass

    channel.time(work)


def prediction(
    build: Callable[..., keras.Model], channel: Channel, *, splits: str, **place: Any
) -> None:
    """Predict a batch, float32 [100, size, size, 3] as the loaders give it, again and again."""
    model = build(**place)
    batch = np.load(Path(splits, "train.npy"), mmap_mode="r")[:100].astype("float32")
    channel.repeat(lambda: model.predict(batch, batch_size=len(batch), verbose=0))


PARTS: dict[str, Callable[..., None]] = {
    "train_baseline": partial(train, small_network, 0.001),
    "train_augmented": partial(train, partial(small_network, augmented=True), 0.001),
    "head": partial(train, vgg16, 0.001),
    "last_block": partial(train, partial(vgg16, last_block=True), 1e-5),
    "decoding": decoding,
    "prediction_cnn5": partial(prediction, small_network),
    "prediction_vgg16": partial(prediction, vgg16),
}
