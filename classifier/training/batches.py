"""What feeds a training step: shuffled, augmented batches from arrays on the disk."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

Prepare = Callable[[NDArray, np.random.Generator], NDArray | tuple[NDArray, NDArray]]
Mix = Callable[[NDArray, NDArray, np.random.Generator], tuple[NDArray, NDArray]]


class Batches(keras.utils.PyDataset):
    """Batches of inputs and labels, the same for the same seed, epoch and position.

    Nothing but the batch at hand is held in memory, and nothing depends on the batches drawn
    before, so that an interrupted training goes on as if nothing had happened.
    """

    def __init__(
        self,
        views: Sequence[NDArray],
        labels: NDArray[np.int64],
        batch_size: int,
        *,
        seed: int | None = None,
        prepare: Prepare | None = None,
        mix: Mix | None = None,
    ) -> None:
        """Describe the batches.

        Args:
            views: one or more arrays [n, ...] of the inputs; of several, each input is drawn from
                one of them anew in every epoch.
            labels: int64 [n].
            batch_size: inputs a batch; the last batch of an epoch may be smaller.
            seed: of shuffling and of the generators that `prepare` gets; None keeps the order.
            prepare: changes the inputs of one batch, or adds others, with the batch's own
                generator.
            mix: changes the inputs of one batch and their soft labels, after `prepare`.
        """
        # From two threads on, Keras leaves tf.data's tuning off. Its thread sleeps about as long as
        # the epoch has run, and TensorFlow waits for it at the epoch's end: seconds a time.
        super().__init__(workers=2)
        self.views = views
        self.labels = labels
        self.targets: NDArray = labels  # what is learnt: the labels, in any form
        self.batch_size = batch_size
        self.seed = seed
        self.prepare = prepare
        self.mix = mix
        self.start_epoch(0)

    def start_epoch(self, epoch: int) -> None:
        """Draw the order of an epoch, counted from 0."""
        self.epoch = epoch
        self.order = np.arange(len(self.labels))
        if self.seed is not None:
            np.random.default_rng([self.seed, epoch]).shuffle(self.order)

    def __len__(self) -> int:
        return math.ceil(len(self.labels) / self.batch_size)

    def __getitem__(self, position: int) -> tuple[Any, NDArray]:
        rows = self.order[position * self.batch_size : (position + 1) * self.batch_size]
        # Counted from 1: a zero at the end would give the generator that shuffled the epoch.
        rng = np.random.default_rng([self.seed or 0, self.epoch, position + 1])
        first = self.views[0]
        if len(self.views) == 1:
            inputs: Any = first[rows]
        else:
            inputs = np.empty((len(rows), *first.shape[1:]), first.dtype)
            chosen = rng.integers(len(self.views), size=len(rows))
            for k, view in enumerate(self.views):
                inputs[chosen == k] = view[rows[chosen == k]]
        if self.prepare:
            inputs = self.prepare(inputs, rng)
        if self.mix:
            return self.mix(inputs, self.targets[rows], rng)
        return inputs, self.targets[rows]
