"""Downloads from a real server that does everything a server should not."""

import errno
import hashlib
import io
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from classifier.base import cache as caching
from classifier.base.errors import UserError
from classifier.sources import fetch as fetching
from classifier.sources.catalog import RemoteFile
from classifier.sources.fetch import LONGEST_PAUSE, Fetched, Patience, fetch
from tests.http_server import Answer, Server, serving

NAME = "images.zip"
BODY = np.random.default_rng(0).bytes(300_000)
OTHER = np.random.default_rng(1).bytes(300_000)
SUM = hashlib.sha256(BODY).hexdigest()
OTHER_SUM = hashlib.sha256(OTHER).hexdigest()
DATE = "Mon, 01 Jan 2024 00:00:00 GMT"
LATER = "Tue, 02 Jan 2024 00:00:00 GMT"
# How a server tells one file from another, and what is sent back to it. A weak ETag (RFC 9110,
# section 8.8.1) does not say that the bytes are the same.
VALIDATORS = pytest.mark.parametrize(
    ("old", "new", "sent"),
    [
        ({"etag": '"1"'}, {"etag": '"2"'}, '"1"'),
        ({"etag": "", "modified": DATE}, {"etag": "", "modified": LATER}, DATE),
        ({"etag": 'W/"1"', "modified": DATE}, {"etag": 'W/"2"', "modified": LATER}, DATE),
    ],
    ids=["ETag", "Last-Modified", "weak ETag"],
)


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serving() as server:
        yield server


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "downloads"


def remote(server: Server, *places: str, checked: bool = True) -> RemoteFile:
    urls = [f"{server.url}/{place}/{NAME}" for place in places or ("a",)]
    if not checked:
        return RemoteFile(name=NAME, urls=urls)
    return RemoteFile(name=NAME, urls=urls, bytes=len(BODY), sha256=SUM)


def answers(server: Server, *given: Answer, place: str = "a") -> None:
    server.answers[f"/{place}/{NAME}"] = list(given)


def quick(file: RemoteFile, folder: Path, mirror: str | None = None, **others) -> Fetched:
    ways_on = others.pop("ways_on", None)
    patience = Patience(**({"timeout": 0.5, "attempts": 3, "pause": 0.01} | others))
    return fetch(file, folder, mirror, ways_on=ways_on, patience=patience)


def ranges(server: Server) -> list[str]:
    return [request.range for request in server.requests]


def visible(folder: Path) -> list[str]:
    """Files and folders in the download cache, its own records and locks aside."""
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def test_a_file_is_downloaded_under_its_name_with_its_sums(server, folder):
    answers(server, Answer(BODY))
    found = quick(remote(server), folder)
    url = f"{server.url}/a/{NAME}"
    assert found == Fetched(folder / NAME, len(BODY), SUM, url, "")
    assert found.path.read_bytes() == BODY
    assert visible(folder) == [NAME]


def test_a_downloaded_file_is_not_downloaded_again(server, folder):
    answers(server, Answer(BODY))
    first = quick(remote(server), folder)
    assert quick(remote(server), folder) == first
    assert len(server.requests) == 1


def test_a_cached_file_that_was_changed_is_downloaded_again(server, folder):
    answers(server, Answer(BODY))
    quick(remote(server), folder).path.write_bytes(OTHER)
    assert quick(remote(server), folder).path.read_bytes() == BODY
    assert len(server.requests) == 2


def test_md5_is_checked_where_the_catalogue_has_only_that(server, folder):
    md5 = hashlib.md5(BODY).hexdigest()
    answers(server, Answer(BODY))
    answers(server, Answer(OTHER), place="b")
    good = RemoteFile(name=NAME, urls=[f"{server.url}/a/{NAME}"], md5=md5)
    assert quick(good, folder).sha256 == SUM
    bad = RemoteFile(name=NAME, urls=[f"{server.url}/b/{NAME}"], md5=md5)
    with pytest.raises(UserError, match=md5):
        quick(bad, folder / "another")


def test_without_a_checksum_a_file_of_the_same_name_from_elsewhere_is_not_taken(server, folder):
    answers(server, Answer(BODY))
    answers(server, Answer(OTHER), place="b")
    quick(remote(server, "a", checked=False), folder)
    assert quick(remote(server, "b", checked=False), folder).sha256 == OTHER_SUM
    assert quick(remote(server, "b", checked=False), folder).sha256 == OTHER_SUM
    assert len(server.requests) == 2


@VALIDATORS
@pytest.mark.parametrize("checked", [True, False])
def test_a_broken_download_is_continued_where_it_broke(server, folder, checked, old, new, sent):
    answers(server, Answer(BODY, **old, breaks_after=100_000), Answer(BODY, **old))
    assert quick(remote(server, checked=checked), folder).sha256 == SUM
    assert ranges(server) == ["", "bytes=100000-"]
    assert server.requests[1].if_range == sent


def test_a_later_run_continues_what_an_earlier_one_left(server, folder):
    answers(server, Answer(BODY, breaks_after=100_000), Answer(BODY))
    with pytest.raises(UserError, match="ended after 100,000 of 300,000 bytes"):
        quick(remote(server), folder, attempts=1)
    assert visible(folder) == [f"{NAME}.part"]
    assert quick(remote(server), folder).path.read_bytes() == BODY
    assert ranges(server) == ["", "bytes=100000-"]
    assert visible(folder) == [NAME]


def test_a_download_that_gets_farther_each_time_is_not_given_up(server, folder):
    answers(server, Answer(BODY, breaks_after=40_000))
    assert quick(remote(server), folder, attempts=2).sha256 == SUM
    assert len(server.requests) == 8


@pytest.mark.timeout(10)
def test_a_stalled_connection_is_continued(server, folder):
    answers(server, Answer(BODY, stalls_after=150_000), Answer(BODY))
    assert quick(remote(server), folder, timeout=0.2).path.read_bytes() == BODY
    assert len(server.requests) == 2
    assert server.requests[1].range != ""


@pytest.mark.timeout(10)
def test_a_server_that_only_stalls_ends_in_an_error(server, folder):
    answers(server, Answer(BODY, stalls_after=0))
    with pytest.raises(UserError, match=r"no answer for 0\.1 s \(after 2 attempts\)"):
        quick(remote(server), folder, timeout=0.1, attempts=2)


def test_a_server_that_ignores_ranges_sends_all_again(server, folder):
    answers(server, Answer(BODY, breaks_after=100_000), Answer(BODY, knows_ranges=False))
    assert quick(remote(server), folder).path.read_bytes() == BODY
    assert len(server.requests) == 2


@VALIDATORS
def test_a_changed_file_is_not_glued_to_the_old_half(server, folder, old, new, sent):
    answers(server, Answer(OTHER, **old, breaks_after=100_000), Answer(BODY, **new))
    assert quick(remote(server, checked=False), folder).path.read_bytes() == BODY
    assert ranges(server) == ["", "bytes=100000-"]
    assert server.requests[1].if_range == sent


@VALIDATORS
def test_a_changed_file_is_noticed_when_the_server_knows_no_if_range(
    server, folder, old, new, sent
):
    answers(
        server,
        Answer(OTHER, **old, breaks_after=100_000),
        Answer(BODY, **new, knows_if_range=False),
    )
    assert quick(remote(server, checked=False), folder).path.read_bytes() == BODY
    assert ranges(server) == ["", "bytes=100000-", ""]


@pytest.mark.parametrize("etag", ["", 'W/"1"'])
def test_without_etag_date_and_checksum_a_half_is_not_continued(server, folder, etag):
    answers(server, Answer(OTHER, etag=etag, breaks_after=100_000), Answer(BODY, etag=etag))
    assert quick(remote(server, checked=False), folder).path.read_bytes() == BODY
    assert ranges(server) == ["", ""]


def test_without_etag_the_checksum_finds_a_glued_file_and_it_is_fetched_whole(server, folder):
    answers(server, Answer(OTHER, etag="", breaks_after=100_000), Answer(BODY, etag=""))
    assert quick(remote(server), folder).path.read_bytes() == BODY
    assert ranges(server) == ["", "bytes=100000-", ""]


def test_a_refused_range_starts_again(server, folder):
    answers(
        server, Answer(BODY, breaks_after=100_000), Answer(BODY, refuses_ranges=True), Answer(BODY)
    )
    assert quick(remote(server), folder).path.read_bytes() == BODY
    assert ranges(server) == ["", "bytes=100000-", ""]


@pytest.mark.parametrize("checked", [True, False])
def test_a_length_that_promises_too_much_is_seen_through(server, folder, checked):
    answers(server, Answer(BODY, promises=1_000), Answer(BODY))
    assert quick(remote(server, checked=checked), folder).path.read_bytes() == BODY
    # Where no checksum says that all is there, the server's answer to the next byte does: 416.
    assert ranges(server) == ([""] if checked else ["", "bytes=300000-"])


def test_a_length_that_always_promises_too_much_is_an_error_without_a_checksum(server, folder):
    answers(server, Answer(BODY, promises=1_000, knows_ranges=False))
    with pytest.raises(UserError, match="ended after 300,000 of 301,000 bytes"):
        quick(remote(server, checked=False), folder)
    assert NAME not in visible(folder)


def test_a_length_that_promises_too_little_fails_the_check(server, folder):
    answers(server, Answer(BODY, promises=-1_000))
    with pytest.raises(UserError, match="299,000 bytes where the catalogue has 300,000"):
        quick(remote(server), folder)
    assert visible(folder) == [f"{NAME}.rejected"]


def test_a_file_that_never_ends_does_not_fill_the_disk(server, folder):
    answers(server, Answer(BODY * 200, chunked=True))
    with pytest.raises(UserError, match="more than the 300,000 bytes"):
        quick(remote(server), folder)
    assert visible(folder) == []
    assert server.sent < 100 * len(BODY)


def test_chunks_without_a_length_are_read(server, folder):
    answers(server, Answer(BODY, chunked=True))
    assert quick(remote(server), folder).path.read_bytes() == BODY


def test_an_archive_stays_packed_when_the_server_calls_it_an_encoding(server, folder):
    answers(server, Answer(BODY, headers={"Content-Encoding": "gzip"}))
    assert quick(remote(server), folder).path.read_bytes() == BODY


def test_wrong_bytes_are_kept_aside_and_the_next_url_is_tried(server, folder, capsys):
    answers(server, Answer(OTHER), place="a")
    answers(server, Answer(BODY), place="b")
    found = quick(remote(server, "a", "b"), folder)
    assert found.path.read_bytes() == BODY
    assert found.origin == f"{server.url}/b/{NAME}"
    assert (folder / f"{NAME}.rejected").read_bytes() == OTHER
    told = capsys.readouterr().err
    assert SUM in told
    assert OTHER_SUM in told


def test_only_wrong_bytes_end_in_a_line_with_both_sums(server, folder):
    answers(server, Answer(OTHER))
    with pytest.raises(UserError) as caught:
        quick(remote(server), folder)
    message = str(caught.value)
    assert SUM in message
    assert OTHER_SUM in message
    assert f"{NAME}.rejected" in message
    assert "\n" not in message
    assert visible(folder) == [f"{NAME}.rejected"]


def test_a_missing_file_is_asked_for_once_and_the_next_url_tried(server, folder):
    answers(server, Answer(BODY), place="b")
    assert quick(remote(server, "a", "b"), folder).sha256 == SUM
    assert [request.path for request in server.requests] == [f"/a/{NAME}", f"/b/{NAME}"]


@pytest.fixture
def pauses(monkeypatch) -> list[float]:
    """The seconds that a download pauses, which do not pass."""
    paused: list[float] = []
    monkeypatch.setattr(fetching, "time", SimpleNamespace(sleep=paused.append))
    return paused


@pytest.mark.parametrize(
    ("asked", "paused"),
    [
        ({"Retry-After": "7"}, 7),
        ({"Retry-After": "3600"}, LONGEST_PAUSE),
        ({"Retry-After": "0"}, 1),  # the client's own pause is longer
        ({"Retry-After": DATE}, 1),  # allowed, but not worth a parser of dates
    ],
    ids=["seconds", "an hour", "0", "a date"],
)
def test_a_busy_server_is_asked_again_when_it_says(server, folder, pauses, asked, paused):
    answers(server, Answer(status=503, headers=asked), Answer(BODY))
    assert quick(remote(server), folder, pause=1).sha256 == SUM
    assert pauses == [paused]


def test_a_busy_server_that_says_nothing_is_asked_ever_less_often(server, folder, pauses):
    answers(server, Answer(status=503))
    with pytest.raises(UserError, match=r"HTTP 503 .* \(after 9 attempts\)"):
        quick(remote(server), folder, pause=1, attempts=9)
    assert pauses == [1, 2, 4, 8, 16, 32, LONGEST_PAUSE, LONGEST_PAUSE]


def test_redirects_are_followed_but_not_for_ever(server, folder):
    answers(server, Answer(status=302, headers={"Location": f"/b/{NAME}"}), place="a")
    answers(server, Answer(BODY), place="b")
    assert quick(remote(server), folder).origin == f"{server.url}/a/{NAME}"
    answers(server, Answer(status=302, headers={"Location": f"/c/{NAME}"}), place="c")
    with pytest.raises(UserError, match="redirects"):
        quick(remote(server, "c"), folder / "another")


def test_a_redirect_to_a_local_file_is_refused(server, folder, tmp_path):
    (tmp_path / "secret").write_bytes(BODY)
    answers(server, Answer(status=302, headers={"Location": f"file://{tmp_path}/secret"}))
    with pytest.raises(UserError, match="file://"):
        quick(remote(server), folder)


def test_no_network_names_the_url_and_the_ways_on(folder):
    url = f"http://127.0.0.1:9/{NAME}"
    with pytest.raises(UserError) as caught:
        quick(RemoteFile(name=NAME, urls=[url]), folder)
    message = str(caught.value)
    assert f"{url}: Connection refused" in message
    assert f"DATA_MIRROR to a folder or URL that holds {NAME}" in message
    assert "data.source to a local archive or folder" in message
    assert "data.source: data/catalog/sample.yaml" in message
    assert "\n" not in message
    with pytest.raises(UserError, match=r"Ways on: finetune\.weights: none$"):
        quick(RemoteFile(name=NAME, urls=[url]), folder, ways_on="finetune.weights: none")


def test_a_file_without_urls_is_only_available_from_a_mirror(folder):
    with pytest.raises(UserError, match="only available through DATA_MIRROR"):
        quick(RemoteFile(name=NAME, urls=[]), folder)


PAGE = b"\n<!DOCTYPE html><html><title>Virus scan warning</title>" + 2000 * b"<p>Please sign in"
TEXTS = pytest.mark.parametrize(
    ("text", "called"),
    [
        (PAGE, "the server sent a web page in the file's place ('<!DOCTYPE html><html><title>Vir"),
        (b'\xef\xbb\xbf{"error": "quota"}', "the server sent a text in the file's place ('{"),
        ("größer".encode() * 200, "a text"),
    ],
    ids=["web page", "JSON", "text"],
)


@TEXTS
@pytest.mark.parametrize("checked", [True, False])
def test_a_web_page_served_as_the_file_is_not_kept(server, folder, text, called, checked):
    answers(server, Answer(text), place="a")
    with pytest.raises(UserError) as caught:
        quick(remote(server, checked=checked), folder)
    assert called in str(caught.value)
    assert "\n" not in str(caught.value)
    assert visible(folder) == []
    answers(server, Answer(BODY), place="b")
    assert quick(remote(server, "a", "b", checked=checked), folder).sha256 == SUM


def test_a_file_that_is_json_by_its_name_may_be_that_and_no_web_page(server, folder):
    index = RemoteFile(name="index.json", urls=[f"{server.url}/index.json"])
    served = server.answers["/index.json"] = [Answer(PAGE)]
    with pytest.raises(UserError, match="a web page in the file's place"):
        quick(index, folder)
    served[:] = [Answer(b'{"0": ["n01440764", "tench"]}')]
    assert quick(index, folder).path.read_bytes().startswith(b'{"0"')


def test_a_web_page_that_was_kept_before_is_downloaded_again(server, folder):
    answers(server, Answer(BODY))
    path = quick(remote(server, checked=False), folder).path
    path.write_bytes(PAGE)
    memory = folder / f".{NAME}.json"
    page_sum = hashlib.sha256(PAGE).hexdigest()
    memory.write_text(memory.read_text(encoding="utf-8").replace(SUM, page_sum), encoding="utf-8")
    assert quick(remote(server, checked=False), folder).sha256 == SUM


def test_a_mirrors_web_page_is_not_taken(server, folder):
    answers(server, Answer(PAGE), place="mirror")
    answers(server, Answer(BODY))
    assert quick(remote(server), folder, f"{server.url}/mirror").sha256 == SUM


@pytest.mark.parametrize("status", [401, 403])
def test_a_server_that_refuses_is_named_with_the_ways_on(server, folder, status):
    answers(server, Answer(status=status))
    with pytest.raises(UserError) as caught:
        quick(remote(server), folder)
    assert f"HTTP {status}" in str(caught.value)
    assert "a browser may get the file" in str(caught.value)
    assert f"DATA_MIRROR to a folder or URL that holds {NAME}" in str(caught.value)
    assert len(server.requests) == 1


def test_servers_are_told_the_projects_name(server, folder):
    answers(server, Answer(BODY))
    quick(remote(server), folder)
    assert server.requests[0].user_agent == "image-classifier-pipeline"


class TestMirrorFolder:
    def test_its_file_is_used_in_place(self, server, folder, tmp_path, capsys):
        (tmp_path / NAME).write_bytes(BODY)
        found = quick(remote(server), folder, str(tmp_path))
        assert found == Fetched(tmp_path / NAME, len(BODY), SUM, "mirror", "")
        assert not folder.exists()
        assert server.requests == []
        assert capsys.readouterr().err == ""

    def test_it_goes_before_the_download_cache(self, server, folder, tmp_path):
        answers(server, Answer(BODY))
        quick(remote(server), folder)
        (tmp_path / NAME).write_bytes(OTHER)
        assert quick(remote(server), folder, str(tmp_path)).sha256 == OTHER_SUM

    def test_a_differing_file_is_used_with_one_line_that_names_both_sums(
        self, server, folder, tmp_path, capsys
    ):
        (tmp_path / NAME).write_bytes(OTHER)
        found = quick(remote(server), folder, str(tmp_path))
        assert found.path == tmp_path / NAME
        assert SUM in found.note
        assert OTHER_SUM in found.note
        assert str(tmp_path) not in found.note
        assert capsys.readouterr().err == f"{found.note}\n"

    def test_a_relative_one_is_sought_from_the_users_checkout(
        self, server, folder, tmp_path, monkeypatch
    ):
        (tmp_path / "checkout").mkdir()
        (tmp_path / "mirror").mkdir()
        (tmp_path / "mirror" / NAME).write_bytes(BODY)
        monkeypatch.setenv("DVC_ROOT", str(tmp_path / "checkout"))
        assert quick(remote(server), folder, "../mirror").origin == "mirror"

    @pytest.mark.parametrize("mirror", ["empty", "missing"])
    def test_where_it_lacks_the_file_the_url_is_asked(
        self, server, folder, tmp_path, mirror, capsys
    ):
        (tmp_path / "empty").mkdir()
        answers(server, Answer(BODY))
        assert quick(remote(server), folder, str(tmp_path / mirror)).sha256 == SUM
        assert "DATA_MIRROR" in capsys.readouterr().err


class TestMirrorUrl:
    def test_it_is_asked_first(self, server, folder):
        answers(server, Answer(BODY), place="mirror")
        found = quick(remote(server), folder, f"{server.url}/mirror/")
        assert found.origin == "mirror"
        assert found.path.read_bytes() == BODY
        assert [request.path for request in server.requests] == [f"/mirror/{NAME}"]

    def test_a_differing_file_is_used_and_not_taken_for_the_original(self, server, folder):
        answers(server, Answer(BODY))
        answers(server, Answer(OTHER), place="mirror")
        found = quick(remote(server), folder, f"{server.url}/mirror")
        assert found.path.read_bytes() == OTHER
        assert SUM in found.note
        assert OTHER_SUM in found.note
        assert quick(remote(server), folder).path.read_bytes() == BODY

    @VALIDATORS
    def test_an_unchanged_file_is_not_sent_again_and_a_changed_one_is(
        self, server, folder, old, new, sent
    ):
        answers(
            server, Answer(BODY, **old), Answer(BODY, **old), Answer(OTHER, **new), place="mirror"
        )
        sums = [quick(remote(server), folder, f"{server.url}/mirror").sha256 for _ in range(3)]
        assert sums == [SUM, SUM, OTHER_SUM]
        # A cached copy may be asked for by a weak ETag, and goes by that before the date.
        conditions = [(one.if_none_match, one.if_modified_since) for one in server.requests]
        known = (old["etag"], "") if old["etag"] else ("", sent)
        assert conditions == [("", ""), known, known]

    def test_a_damaged_copy_is_fetched_again(self, server, folder):
        answers(server, Answer(BODY), place="mirror")
        quick(remote(server), folder, f"{server.url}/mirror").path.write_bytes(OTHER)
        assert quick(remote(server), folder, f"{server.url}/mirror").sha256 == SUM

    @VALIDATORS
    def test_a_broken_download_is_continued(self, server, folder, old, new, sent):
        answers(
            server,
            Answer(OTHER, **old, breaks_after=100_000),
            Answer(OTHER, **old),
            place="mirror",
        )
        assert quick(remote(server), folder, f"{server.url}/mirror").sha256 == OTHER_SUM
        assert ranges(server) == ["", "bytes=100000-"]
        assert server.requests[1].if_range == sent

    def test_where_it_lacks_the_file_the_url_is_asked(self, server, folder):
        answers(server, Answer(BODY))
        assert quick(remote(server), folder, f"{server.url}/mirror").sha256 == SUM

    def test_other_schemes_are_refused(self, server, folder):
        with pytest.raises(UserError, match=r"a folder or an http\(s\) URL"):
            quick(remote(server), folder, "ftp://example.org")


def test_a_full_disk_is_one_line_and_leaves_nothing(server, folder, monkeypatch):
    answers(server, Answer(BODY))

    class FullDisk(io.FileIO):
        def write(self, content):
            if self.tell() > 150_000:
                raise OSError(errno.ENOSPC, "No space left on device")
            return super().write(content)

    really_open = Path.open

    def opened(path, mode="r", *args, **others):
        if path.suffix == ".part" and mode == "ab":
            return io.BufferedWriter(FullDisk(path, "a"))
        return really_open(path, mode, *args, **others)

    monkeypatch.setattr(Path, "open", opened)
    with pytest.raises(UserError, match=r"cannot write .*: No space left on device$"):
        quick(remote(server), folder)
    assert visible(folder) == []


def test_a_folder_that_cannot_be_written_is_one_line(server, tmp_path):
    answers(server, Answer(BODY))
    (tmp_path / "downloads").write_text("a file where the folder should be")
    with pytest.raises(UserError, match=r"cannot write .*downloads"):
        quick(remote(server), tmp_path / "downloads")


def test_a_read_only_folder_is_one_line(server, folder, monkeypatch):
    answers(server, Answer(BODY))
    monkeypatch.setattr(caching, "FileLock", _Unlockable)
    with pytest.raises(UserError, match=r"cannot write .*: Read-only file system$"):
        quick(remote(server), folder)


class _Unlockable:
    def __init__(self, path: Path) -> None: ...

    def acquire(self, timeout: float = -1) -> None:
        raise OSError(errno.EROFS, "Read-only file system")


def test_two_runs_at_once_download_a_file_once(server, folder):
    answers(server, Answer(BODY, stalls_after=100_000), Answer(BODY))
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(quick(remote(server), folder)))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [one.sha256 for one in found] == [SUM, SUM]
    assert len(server.requests) == 2


def test_a_progress_bar_is_shown_on_a_terminal_only(server, folder, monkeypatch, capsys):
    answers(server, Answer(BODY))
    quick(remote(server), folder / "one")
    assert capsys.readouterr().err == ""

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    quick(remote(server), folder / "two")
    assert f"{NAME}: 100%" in terminal.getvalue()
