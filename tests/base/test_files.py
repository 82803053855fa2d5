"""Files appear whole or not at all."""

import errno
import json
import os
import stat

import numpy as np
import pytest

from classifier.base.files import new_array, whole, write_json, write_table, write_text


def test_the_file_is_there_when_the_block_has_ended_and_not_before(tmp_path):
    path = tmp_path / "new" / "folder" / "a.txt"
    with whole(path) as beside:
        beside.write_text("whole")
        assert not path.exists()
        assert beside.parent == path.parent  # so that renaming is atomic
        assert beside.name.startswith(".")
        assert beside.suffix == ".txt"  # numpy and Keras go by it
    assert path.read_text() == "whole"
    assert [one.name for one in path.parent.iterdir()] == ["a.txt"]


@pytest.mark.parametrize("interruption", [ValueError, KeyboardInterrupt, SystemExit])
def test_what_fails_leaves_the_old_file_and_nothing_beside_it(tmp_path, interruption):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(interruption), whole(path) as beside:
        beside.write_text("half")
        raise interruption
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_fails_the_first_time_leaves_nothing(tmp_path):
    with pytest.raises(ValueError, match="no"), whole(tmp_path / "a.txt"):
        raise ValueError("no")
    assert list(tmp_path.iterdir()) == []


def test_two_writers_do_not_meet(tmp_path):
    path = tmp_path / "a.txt"
    with whole(path) as first, whole(path) as second:
        assert first != second
        first.write_text("first")
        second.write_text("second")
    assert path.read_text() == "first"
    assert list(tmp_path.iterdir()) == [path]


def test_everybody_may_read_what_is_written(tmp_path):
    write_text(tmp_path / "a.txt", "")
    assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == 0o644


def test_text_has_unix_line_ends_and_is_utf_8(tmp_path):
    write_text(tmp_path / "a.txt", "größer\n≥ 1\n")
    assert (tmp_path / "a.txt").read_bytes() == "größer\n≥ 1\n".encode()


def test_json_keeps_the_order_of_keys_and_ends_in_a_line_feed(tmp_path):
    write_json(tmp_path / "a.json", {"b": 1, "a": "é", "c": [0.5]})
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert text == '{\n  "b": 1,\n  "a": "é",\n  "c": [\n    0.5\n  ]\n}\n'
    assert list(json.loads(text)) == ["b", "a", "c"]


def test_what_json_cannot_hold_leaves_no_file(tmp_path):
    with pytest.raises(TypeError):
        write_json(tmp_path / "a.json", {"a": object()})
    assert list(tmp_path.iterdir()) == []


def test_a_new_array_has_its_space_and_can_be_read(tmp_path):
    array = new_array(tmp_path / "a.npy", (1000, 8, 8, 3), np.uint8)
    array[7] = 9
    array.flush()
    loaded = np.load(tmp_path / "a.npy")
    assert loaded.shape == (1000, 8, 8, 3)
    assert loaded[7].min() == 9
    assert (tmp_path / "a.npy").stat().st_blocks * 512 >= loaded.nbytes


def test_a_full_disk_is_an_error_and_not_a_signal(tmp_path, monkeypatch):
    def full(descriptor, start, size):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="No space left") as caught, whole(tmp_path / "a") as beside:
        new_array(beside, (4, 4), np.float32)
    assert caught.value.filename.startswith(str(tmp_path))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("reason", [errno.EOPNOTSUPP, errno.EINVAL])
def test_a_disk_that_cannot_take_space_beforehand_will_do(tmp_path, monkeypatch, reason):
    def unable(descriptor, start, size):
        raise OSError(reason, os.strerror(reason))

    monkeypatch.setattr(os, "posix_fallocate", unable)
    assert new_array(tmp_path / "a.npy", (4, 4), np.float32).shape == (4, 4)


def test_a_table_has_a_header_unix_line_ends_and_quotes_where_they_are_needed(tmp_path):
    path = tmp_path / "new/table.csv"
    write_table(path, ["path", "label"], [["a,b.jpg", 'say "日本"'], ["c.jpg", 1]])
    assert path.read_bytes().decode() == 'path,label\n"a,b.jpg","say ""日本"""\nc.jpg,1\n'
    write_table(path, ["x", "y"], [], "\t")
    assert path.read_bytes() == b"x\ty\n"


def test_a_table_whose_rows_fail_leaves_what_was_there(tmp_path):
    path = tmp_path / "table.csv"
    write_table(path, ["x"], [[1]])
    with pytest.raises(ZeroDivisionError):
        write_table(path, ["x"], ([1 // n] for n in (1, 0)))
    assert path.read_text() == "x\n1\n"
    assert [file.name for file in tmp_path.iterdir()] == ["table.csv"]


def test_what_is_not_a_number_is_no_json(tmp_path):
    with pytest.raises(ValueError):
        write_json(tmp_path / "x.json", {"figure": float("nan")})
    assert not list(tmp_path.iterdir())
