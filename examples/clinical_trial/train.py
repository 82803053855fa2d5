"""Train a dense network on one number."""

from pathlib import Path

import numpy as np
from dvc.api import params_show

from classifier.training.saving import save_model


def main() -> None:
    """Train on data/train.csv and write trial.keras."""
    import keras  # after classifier, which sets what Keras and TensorFlow read once
    from keras import layers

    params = params_show()
    keras.utils.set_random_seed(params["seed"])
    table = np.loadtxt("data/train.csv", delimiter=",", skiprows=1)
    ages, effects = table[:, :1], table[:, 1]
    model = keras.Sequential(
        [
            keras.Input((1,)),
            layers.Rescaling(1 / (100 - 13), offset=-13 / (100 - 13)),  # years to 0 to 1
            layers.Dense(16, activation="relu"),
            layers.Dense(32, activation="relu"),
            layers.Dense(2, activation="softmax"),
        ]
    )
    model.compile(
        optimizer=keras.optimizers.Adam(params["learning_rate"]),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    model.fit(ages, effects, batch_size=params["batch_size"], epochs=params["epochs"], verbose=2)
    save_model(Path("trial.keras"), model, {"classes": ["none", "side effects"]})


if __name__ == "__main__":
    main()
