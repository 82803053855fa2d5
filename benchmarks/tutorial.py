"""The tutorial way, as Keras's documentation and chapter 8 of Chollet's book write it.

Keras's own loaders and layers, float32, TensorFlow's defaults: nothing of this project is imported
here, because classifier/__init__.py changes the latter.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers

from benchmarks.stopwatch import Stopwatch
from benchmarks.worker import Channel, evenly


def load(folder: Path, image_size: int, batch_size: int) -> Any:
    """A tf.data.Dataset of a folder of a folder per class."""
    return keras.utils.image_dataset_from_directory(
        folder, image_size=(image_size, image_size), batch_size=batch_size
    )


def augmentation() -> keras.Sequential:
    return keras.Sequential(
        [layers.RandomFlip("horizontal"), layers.RandomRotation(0.1), layers.RandomZoom(0.2)]
    )


def small_network(image_size: int, *, augmented: bool) -> keras.Model:
    """Five convolutions; the second time behind augmentation and with dropout."""
    inputs = keras.Input(shape=(image_size, image_size, 3))
    x = augmentation()(inputs) if augmented else inputs
    x = layers.Rescaling(1.0 / 255)(x)
    x = layers.Conv2D(filters=32, kernel_size=3, activation="relu")(x)
    x = layers.MaxPooling2D(pool_size=2)(x)
    x = layers.Conv2D(filters=64, kernel_size=3, activation="relu")(x)
    x = layers.MaxPooling2D(pool_size=2)(x)
    x = layers.Conv2D(filters=128, kernel_size=3, activation="relu")(x)
    x = layers.MaxPooling2D(pool_size=2)(x)
    x = layers.Conv2D(filters=256, kernel_size=3, activation="relu")(x)
    x = layers.MaxPooling2D(pool_size=2)(x)
    x = layers.Conv2D(filters=256, kernel_size=3, activation="relu")(x)
    x = layers.Flatten()(x)
    if augmented:
        x = layers.Dropout(0.5)(x)
    outputs = layers.Dense(1, activation="sigmoid")(x)
    return keras.Model(inputs, outputs)


def vgg16(image_size: int, weights: str | None, *, last_block: bool) -> keras.Model:
    """VGG16's base under a new head: first frozen, then with its last block trained.

    Args:
        image_size: pixels.
        weights: a file with the weights of the base; None leaves them random.
        last_block: the second of the two, on augmented pictures.
    """
    conv_base = keras.applications.VGG16(
        weights=weights, include_top=False, input_shape=(image_size, image_size, 3)
    )
    if last_block:
        conv_base.trainable = True
        for layer in conv_base.layers[:-4]:
            layer.trainable = False
    else:
        conv_base.trainable = False
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
    channel: Channel,
    model: keras.Model,
    *,
    pictures: str,
    image_size: int,
    batch_size: int,
    learning_rate: float = 0.001,
) -> None:
    """Train for an epoch at each command, on what is in the folder then."""
    model.compile(
        loss="binary_crossentropy",
        optimizer=keras.optimizers.RMSprop(learning_rate),
        metrics=["accuracy"],
    )
    callbacks = [
        keras.callbacks.ModelCheckpoint(
            filepath=Path(pictures, "best.keras"), save_best_only=True, monitor="val_loss"
        ),
        Stopwatch(channel.say),
    ]
    while channel.hear() is not None:
        train_dataset = load(Path(pictures, "train"), image_size, batch_size)
        validation_dataset = load(Path(pictures, "validation"), image_size, batch_size)
        model.fit(
            train_dataset,
            epochs=1,
            validation_data=validation_dataset,
            callbacks=callbacks,
            verbose=2,
        )


def train_baseline(channel: Channel, *, image_size: int, **settings: Any) -> None:
    model = small_network(image_size, augmented=False)
    train(channel, model, image_size=image_size, **settings)


def train_augmented(channel: Channel, *, image_size: int, **settings: Any) -> None:
    model = small_network(image_size, augmented=True)
    train(channel, model, image_size=image_size, **settings)


def head(channel: Channel, *, image_size: int, weights: str | None, **settings: Any) -> None:
    model = vgg16(image_size, weights, last_block=False)
    train(channel, model, image_size=image_size, **settings)


def last_block(channel: Channel, *, image_size: int, weights: str | None, **settings: Any) -> None:
    model = vgg16(image_size, weights, last_block=True)
    train(channel, model, image_size=image_size, learning_rate=1e-5, **settings)


def decoding(channel: Channel, *, pictures: str, image_size: int, batch_size: int) -> None:
    """Decode so many of the pictures."""
    import tensorflow as tf

    def decoded(path: Any) -> Any:
        image = tf.io.decode_jpeg(tf.io.read_file(path), channels=3)
        return tf.image.resize(image, (image_size, image_size))

    paths = sorted(map(str, Path(pictures).glob("*/*/*")), key=lambda path: Path(path).name)

    def work(count: int) -> None:
        chosen = [paths[i] for i in evenly(len(paths), count)]
        dataset = tf.data.Dataset.from_tensor_slices(chosen)
        dataset = dataset.map(decoded, num_parallel_calls=tf.data.AUTOTUNE)
        for _ in dataset.batch(batch_size).prefetch(tf.data.AUTOTUNE):
            pass

    channel.time(work)


def prediction_cnn5(channel: Channel, *, image_size: int, images: str, **_: Any) -> None:
    channel.time(_predicting(small_network(image_size, augmented=False), images))


def prediction_vgg16(
    channel: Channel, *, image_size: int, images: str, weights: str | None, **_: Any
) -> None:
    channel.time(_predicting(vgg16(image_size, weights, last_block=False), images))


def _predicting(model: keras.Model, images: str) -> Callable[[int], None]:
    """Predict one batch, float32 [100, size, size, 3] as the loaders give it, again and again."""
    batch = np.load(images).astype("float32")

    def work(count: int) -> None:
        for _ in range(count):
            model.predict(batch, batch_size=len(batch), verbose=0)

    return work


PARTS: dict[str, Callable[..., None]] = {
    "train_baseline": train_baseline,
    "train_augmented": train_augmented,
    "head": head,
    "last_block": last_block,
    "decoding": decoding,
    "prediction_cnn5": prediction_cnn5,
    "prediction_vgg16": prediction_vgg16,
}
