import pytest

from classifier.wording import counted, percent


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


def test_one_is_singular():
    assert counted(1, "epoch") == "1 epoch"
    assert counted(0, "epoch") == "0 epochs"
    assert counted(1200, "test picture") == "1,200 test pictures"
