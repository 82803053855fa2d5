"""A batch depends on seed, epoch and position, and on nothing else."""

import keras
import numpy as np
import pytest

from classifier.training.batches import Batches

N = 23


def batches(seed=1, views=1, prepare=None, batch_size=5) -> Batches:
    """Inputs [n, 2] of row number and view."""
    numbered = [np.stack([np.arange(N), np.full(N, view)], axis=1) for view in range(views)]
    return Batches(numbered, np.arange(N) % 3, batch_size, seed=seed, prepare=prepare)


def noisy(inputs, rng):
    return inputs + rng.random(inputs.shape)


def epoch_of(some: Batches, epoch: int):
    """All inputs and labels of an epoch, in order."""
    some.start_epoch(epoch)
    drawn = [some[position] for position in range(len(some))]
    return np.concatenate([x for x, _ in drawn]), np.concatenate([y for _, y in drawn])


def test_every_row_comes_once_in_an_epoch_with_its_label():
    for epoch in range(3):
        inputs, labels = epoch_of(batches(), epoch)
        assert sorted(inputs[:, 0]) == list(range(N))
        np.testing.assert_array_equal(labels, inputs[:, 0] % 3)


def test_the_last_batch_is_what_is_left():
    some = batches()
    assert len(some) == 5
    assert [len(some[position][1]) for position in range(5)] == [5, 5, 5, 5, 3]
    assert len(batches(batch_size=N)) == 1
    assert len(batches(batch_size=100)) == 1


def test_epochs_and_seeds_have_orders_of_their_own():
    orders = [tuple(epoch_of(batches(seed), epoch)[0][:, 0]) for seed in (1, 2) for epoch in (0, 1)]
    assert len(set(orders)) == 4
    assert tuple(range(N)) not in orders


def test_without_a_seed_the_order_is_kept():
    for epoch in range(2):
        inputs, _ = epoch_of(batches(seed=None), epoch)
        assert list(inputs[:, 0]) == list(range(N))


@pytest.mark.parametrize("views", [1, 3])
def test_a_batch_is_the_same_whatever_was_drawn_before(views):
    first, second = (batches(views=views, prepare=noisy) for _ in range(2))
    expected = {}
    for epoch in range(3):
        first.start_epoch(epoch)
        for position in range(len(first)):
            expected[epoch, position] = first[position]
    for epoch, position in reversed(expected):
        second.start_epoch(epoch)
        for drawn, wanted in zip(second[position], expected[epoch, position], strict=True):
            np.testing.assert_array_equal(drawn, wanted)


def test_what_is_prepared_differs_between_epochs_positions_and_seeds():
    drawn = set()
    for seed in (1, 2):
        for epoch in (0, 1):
            some = batches(seed, prepare=noisy)
            some.start_epoch(epoch)
            for position in range(len(some)):
                inputs, _ = some[position]
                drawn.add(float(inputs[0, 0] % 1))
    assert len(drawn) == 2 * 2 * 5


def test_each_input_is_drawn_from_one_of_its_views_anew_in_every_epoch():
    some = batches(views=4)
    chosen = np.zeros((200, N), int)
    for epoch in range(200):
        inputs, _ = epoch_of(some, epoch)
        assert sorted(inputs[:, 0]) == list(range(N))
        chosen[epoch, inputs[:, 0]] = inputs[:, 1]
    shares = np.stack([(chosen == view).mean(axis=0) for view in range(4)])
    assert np.abs(shares - 0.25).max() < 0.15  # of every input, five standard deviations
    assert (chosen[0] != chosen[1]).any()
    assert len(set(chosen[0])) == 4  # and not one view for the whole epoch


def test_the_arrays_are_not_changed():
    views = [np.zeros((N, 2)), np.ones((N, 2))]
    some = Batches(views, np.zeros(N, int), 5, seed=1, prepare=lambda x, rng: np.add(x, 5, out=x))
    epoch_of(some, 0)
    assert not views[0].any()
    assert (views[1] == 1).all()


def test_only_the_rows_at_hand_are_read(tmp_path):
    class Counting(np.ndarray):
        read = 0

        def __getitem__(self, rows):
            Counting.read += len(rows)
            return super().__getitem__(rows)

    some = Batches([np.zeros((N, 2)).view(Counting)], np.zeros(N, int), 5, seed=1)
    some[0]
    assert Counting.read == 5


def test_no_batch_is_drawn_with_the_numbers_that_shuffled_the_epoch():
    states = {}
    some = batches(
        prepare=lambda inputs, rng: states.update(drawn=rng.bit_generator.state) or inputs
    )
    for position in range(len(some)):
        _ = some[position]
        assert states["drawn"] != np.random.default_rng([1, 0]).bit_generator.state


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="asks what TensorFlow does")
def test_no_epoch_waits_for_the_tuning_of_tf_data():
    # Keras's own class: it has no public name for the dataset that it makes of these batches.
    from keras.src.trainers.data_adapters.py_dataset_adapter import PyDatasetAdapter

    batches = Batches([np.zeros((8, 2), np.uint8)], np.arange(8), 4)
    dataset = PyDatasetAdapter(batches, shuffle=False).get_tf_dataset()
    assert dataset.options().autotune.enabled is False
