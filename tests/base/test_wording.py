import pytest

from classifier.base.wording import counted, decimals, percent


@pytest.mark.parametrize(
    ("share", "shown"),
    [
        (1.0, "100.0 %"),
        (4999 / 5000, ">99.9 %"),
        (0.9994, "99.9 %"),
        (0.5, "50.0 %"),
        (0.0006, "0.1 %"),
        (0.0001, "<0.1 %"),
        (0.0, "0.0 %"),
    ],
)
def test_nothing_short_of_certain_is_called_certain(share, shown):
    assert percent(share) == shown


@pytest.mark.parametrize(
    ("figure", "digits", "shown"),
    [
        (1.0, 3, "1.000"),
        (0.99951, 3, ">0.999"),
        (0.9994, 3, "0.999"),
        (0.97251, 3, "0.973"),
        (0.0006, 3, "0.001"),
        (0.0004, 3, "<0.001"),
        (0.0, 3, "0.000"),
        (1.0004, 3, "1.000"),
        (2.5, 3, "2.500"),
        (0.996, 2, ">0.99"),
        (0.004, 2, "<0.01"),
    ],
)
def test_nothing_short_of_certain_is_called_certain_in_decimals(figure, digits, shown):
    assert decimals(figure, digits) == shown


def test_one_is_singular():
    assert counted(1, "epoch") == "1 epoch"
    assert counted(0, "epoch") == "0 epochs"
    assert counted(1200, "test picture") == "1,200 test pictures"
