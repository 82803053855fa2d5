"""From a source to data/raw, or to one line and nothing."""

import pytest

from classifier.base.errors import UserError
from classifier.sources.collect import collect
from tests.hostile import BAD, LIMITS, replaced, zip_bytes

BROKEN = b"\xff\xd8\xff to be broken"


@pytest.mark.parametrize("classes", [["cats"], ["cats", "dogs"]])
def test_a_class_without_a_readable_picture_is_an_error_and_nothing_is_left(tmp_path, classes):
    names = [f"{label}/{n}.jpg" for label in ("cats", "dogs") for n in range(3)]
    members = [(name, BROKEN if name.split("/")[0] in classes else BAD) for name in names]
    content = zip_bytes(*members, good=False)
    (tmp_path / "a.zip").write_bytes(replaced(content, BROKEN, BROKEN[::-1]))
    with pytest.raises(UserError) as caught:
        collect(tmp_path / "a.zip", tmp_path / "raw", LIMITS, {"name": "mine"})
    assert str(caught.value) == (
        f"{tmp_path}/a.zip: none of the 3 pictures of cats can be read, such as cats/0.jpg: "
        "damaged: its checksum is wrong"
    )
    assert list((tmp_path / "raw").iterdir()) == []
