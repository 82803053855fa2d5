"""Files from a mirror, the download cache or the web: resumed, checked, whole or not there at all.

All of this project's network access is here.
"""

import codecs
import errno
import hashlib
import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import requests
import urllib3
from tqdm import tqdm

from classifier.base.cache import locked, project_root
from classifier.base.errors import UserError
from classifier.base.files import write_json
from classifier.sources.catalog import RemoteFile

CHUNK = 1 << 16  # bytes; so much is lost when a connection stalls
LONGEST_PAUSE = 60.0  # seconds
MOST_REDIRECTS = 10
USER_AGENT = "image-classifier-pipeline"
WORTH_A_RETRY = {408, 425, 429, 500, 502, 503, 504}
HOPELESS = (
    requests.exceptions.InvalidSchema,
    requests.exceptions.InvalidURL,
    requests.exceptions.MissingSchema,
    requests.exceptions.SSLError,
    requests.exceptions.TooManyRedirects,
)


@dataclass(frozen=True)
class Fetched:
    """A file that is ready to be read.

    `origin`: "mirror", the URL that served it, or "cache" (it lay in the download cache, and
    fits the catalogue's checksum). `note`: how it differs from the catalogue, or "".
    """

    path: Path
    bytes: int
    sha256: str
    origin: str
    note: str


@dataclass(frozen=True)
class _Sums:
    bytes: int
    sha256: str
    md5: str
    resumed: bool = False


@dataclass(frozen=True)
class _Served:
    """What is remembered of a file, whole or partial, beside it: enough to know it again."""

    url: str
    etag: str = ""
    modified: str = ""
    sha256: str = ""

    @property
    def validator(self) -> str:
        """What If-Range may hold: a strong ETag, else a date (RFC 9110, section 13.1.5)."""
        return self.etag if self.etag and not self.etag.startswith("W/") else self.modified


class _RetryError(Exception):
    """This attempt failed, another may not; `wait`: seconds that the server asks for."""

    def __init__(self, reason: str, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.wait = wait


class _UnavailableError(Exception):
    """This place does not have the file; another may."""


@dataclass(frozen=True)
class Patience:
    """When to give a download up.

    `timeout`: seconds without a byte after which a connection counts as broken. `attempts`: so many
    failures in a row, none of which got farther than before, are the end. `pause`: seconds before
    the second attempt, doubled before each one after it.
    """

    timeout: float = 30.0
    attempts: int = 4
    pause: float = 1.0


def fetch(
    file: RemoteFile,
    folder: Path,
    mirror: str | None,
    *,
    ways_on: str | None = None,
    patience: Patience = Patience(),
) -> Fetched:
    """Find `file` in the mirror, else in `folder`, else download it into `folder`.

    Args:
        file: what to look for, and the size and sums that it must have.
        folder: the download cache; a partial download waits there as NAME.part.
        mirror: the value of DATA_MIRROR: a folder, relative to the user's checkout, or an http(s)
            URL. A mirror's file is used even where it differs from the catalogue; a line says so.
        ways_on: what the user can do without a network, the end of the error message.
        patience: when to give up.

    Raises:
        UserError: in one line, when no place has the file or it cannot be written.
    """
    ways_on = ways_on or (
        f"set DATA_MIRROR to a folder or URL that holds {file.name}, set data.source to a local "
        "archive or folder, or data.source: data/catalog/sample.yaml"
    )
    failures: list[str] = []
    if mirror:
        try:
            return _from_mirror(file, mirror, folder / "mirror", patience)
        except _UnavailableError as error:
            failures.append(f"DATA_MIRROR: {error}")
            _say(f"{file.name}: not in DATA_MIRROR: {error}")
    found = _cached(file, folder)
    if found:
        return found
    if not file.urls:
        failures.append("it has no URL: it is only available through DATA_MIRROR")
    else:
        with _alone(folder, file.name):
            found = _cached(file, folder) or _from_urls(file, folder, patience, failures)
    if found is None:
        raise UserError(f"cannot fetch {file.name}: {'; '.join(failures)}. Ways on: {ways_on}")
    return found


def _from_mirror(file: RemoteFile, mirror: str, folder: Path, patience: Patience) -> Fetched:
    if mirror.startswith(("http://", "https://")):
        path = folder / file.name
        with _alone(folder, file.name):
            sums = _mirrored(mirror, path, patience)
    elif "://" in mirror:
        raise UserError(f"DATA_MIRROR is {mirror!r}: must be a folder or an http(s) URL")
    else:
        path = project_root() / mirror / file.name
        if not path.is_file():
            place = "it has no such file" if path.parent.is_dir() else "no such folder"
            raise _UnavailableError(f"{mirror}: {place}")
        sums = _sums(path)
    difference = _difference(file, sums)
    note = ""
    if difference:
        note = f"{file.name}: the mirror's file differs from the catalogue, and is used: "
        note += difference
        _say(note)
    return Fetched(path, sums.bytes, sums.sha256, "mirror", note)


def _mirrored(mirror: str, path: Path, patience: Patience) -> _Sums:
    """Bring `path` up to date with the mirror's file of that name."""
    url = f"{mirror.rstrip('/')}/{quote(path.name)}"
    # The catalogue's sums must not judge a mirror's file.
    file = RemoteFile(name=path.name, urls=[url])
    had = _sums(path) if path.is_file() else None
    known = _remembered(path)
    if had is None or known is None or known.url != url or known.sha256 != had.sha256:
        known = None
    try:
        sums = _brought(file, url, path, known, patience) or had
    except _UnavailableError as error:
        raise _UnavailableError(f"{url}: {error}") from error
    assert sums is not None  # only a request with a known file is answered "not modified"
    return sums


def _cached(file: RemoteFile, folder: Path) -> Fetched | None:
    path = folder / file.name
    if not path.is_file():
        return None
    sums = _sums(path)
    difference = _difference(file, sums) or (not _has_sum(file) and _text(file, path))
    if difference:
        _say(f"{file.name}: the copy in the download cache is not used: {difference}")
        return None
    served = _remembered(path)
    known = served is not None and served.sha256 == sums.sha256
    if known and served and (served.url in file.urls or _has_sum(file)):
        return Fetched(path, sums.bytes, sums.sha256, served.url, "")
    # Without a checksum only the URL tells one "images.zip" from another.
    return Fetched(path, sums.bytes, sums.sha256, "cache", "") if _has_sum(file) else None


def _from_urls(
    file: RemoteFile, folder: Path, patience: Patience, failures: list[str]
) -> Fetched | None:
    path = folder / file.name
    for url in file.urls:
        try:
            sums = _brought(file, url, path, None, patience)
        except _UnavailableError as error:
            failures.append(f"{url}: {error}")
            if url != file.urls[-1]:
                _say(f"{file.name}: {failures[-1]}; trying the next URL")
        else:
            assert sums is not None
            return Fetched(path, sums.bytes, sums.sha256, url, "")
    return None


def _brought(
    file: RemoteFile, url: str, path: Path, known: _Served | None, patience: Patience
) -> _Sums | None:
    """Download to `path`, and remember from where; None when `known` is still up to date."""
    part = _part(path)
    sums = _download(file, url, path, known, patience)
    if sums and sums.resumed and _difference(file, sums):
        _say(f"{file.name}: the resumed file is wrong, starting again")
        part.unlink()
        sums = _download(file, url, path, known, patience)
    if not sums:
        return None
    if difference := _difference(file, sums):
        rejected = path.with_name(f"{path.name}.rejected")
        with _writing(rejected):
            part.replace(rejected)
            _memory(part).unlink(missing_ok=True)
        raise _UnavailableError(f"{difference}; the file is kept aside as {rejected}")
    served = _remembered(part)
    with _writing(path):
        part.replace(path)
        if served:
            write_json(_memory(path), asdict(served) | {"sha256": sums.sha256})
        _memory(part).unlink(missing_ok=True)
    return sums


def _download(
    file: RemoteFile, url: str, target: Path, known: _Served | None, patience: Patience
) -> _Sums | None:
    """Stream `url` to TARGET.part until that is whole; None when `known` is still up to date."""
    part = _part(target)
    farthest = _size(part)
    failures = 0
    with requests.Session() as session:
        session.max_redirects = MOST_REDIRECTS
        while True:
            half = _resumable(file, url, part)
            headers = _headers(half, _size(part), known)
            wait = 0.0
            try:
                with session.get(
                    url, headers=headers, stream=True, timeout=patience.timeout
                ) as response:
                    if known and response.status_code == 304:
                        return None
                    return _accept(response, file, url, part, half)
            except HOPELESS as error:
                raise _UnavailableError(_reason(error)) from error
            except (requests.Timeout, urllib3.exceptions.TimeoutError):
                reason = f"no answer for {patience.timeout:g} s"
            except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
                reason = _reason(error)
            except _RetryError as error:
                reason, wait = str(error), error.wait
            failures = 1 if _size(part) > farthest else failures + 1
            farthest = max(farthest, _size(part))
            if failures >= patience.attempts:
                raise _UnavailableError(f"{reason} (after {patience.attempts} attempts)")
            wait = min(max(patience.pause * 2 ** (failures - 1), wait), LONGEST_PAUSE)
            _say(f"{file.name}: {reason}; trying again in {wait:g} s")
            time.sleep(wait)


def _resumable(file: RemoteFile, url: str, part: Path) -> _Served | None:
    """Whose half `part` is, if it can be told that both halves will be of one file."""
    half = _remembered(part)
    if half is None or half.url != url or _size(part) == 0:
        return None
    return half if half.validator or _has_sum(file) else None


def _headers(half: _Served | None, have: int, known: _Served | None) -> dict[str, str]:
    # An archive must come as it is, not packed once more for the way. Some servers refuse the
    # names of libraries.
    headers = {"Accept-Encoding": "identity", "User-Agent": USER_AGENT}
    if half:
        headers["Range"] = f"bytes={have}-"
        if half.validator:
            headers["If-Range"] = half.validator
    elif known and known.etag:
        headers["If-None-Match"] = known.etag
    elif known and known.modified:
        headers["If-Modified-Since"] = known.modified
    return headers


def _accept(
    response: requests.Response, file: RemoteFile, url: str, part: Path, half: _Served | None
) -> _Sums:
    """Read the answer to a request for the whole file, or for what `part` lacks of it."""
    status = f"HTTP {response.status_code} {response.reason}"
    given = response.headers
    have = _size(part) if half else 0
    if response.status_code == 416 and half:
        if given.get("Content-Range", "").replace(" ", "") == f"bytes*/{have}":
            return _sums(part, resumed=True)
        part.unlink()
        raise _RetryError(status)
    if response.status_code in WORTH_A_RETRY:
        wait = given.get("Retry-After", "")
        raise _RetryError(status, float(wait) if wait.isdecimal() else 0.0)
    served = _Served(url, given.get("ETag", ""), given.get("Last-Modified", ""))
    if response.status_code == 206 and half:
        continued = given.get("Content-Range", "").startswith(f"bytes {have}-")
        if not continued or _changed(half, served):
            part.unlink()
            raise _RetryError("the file changed on the server in between")
        return _receive(response, file, part, have)
    if response.status_code in (401, 403):
        status += " (it wants a log-in, or refuses programs: a browser may get the file)"
    if response.status_code != 200:
        raise _UnavailableError(status)
    # In this order: a crash in between must not leave an old half under a new ETag.
    with _writing(part):
        part.unlink(missing_ok=True)
        write_json(_memory(part), asdict(served))
    return _receive(response, file, part, 0)


def _changed(half: _Served, served: _Served) -> bool:
    """Whether a server continues with another file, as one that knows no If-Range may do."""
    # A 206 may leave out what the client already has (RFC 9110, section 15.3.7).
    pairs = ((half.etag, served.etag), (half.modified, served.modified))
    return any(old and new and old != new for old, new in pairs)


def _receive(response: requests.Response, file: RemoteFile, part: Path, have: int) -> _Sums:
    """Append the body to `part`, which holds `have` bytes, and compute the sums of the whole."""
    length = response.headers.get("Content-Length", "")
    expected = have + int(length) if length.isdecimal() else None
    most = max(file.bytes, expected or 0) if file.bytes else None
    problem: urllib3.exceptions.HTTPError | None = None
    bar: dict[str, Any] = {"unit": "B", "unit_scale": True, "unit_divisor": 1024, "disable": None}
    with (
        _writing(part),
        part.open("ab") as handle,
        tqdm(desc=file.name, total=expected or file.bytes, initial=have, **bar) as progress,
    ):
        try:
            for chunk in response.raw.stream(CHUNK, decode_content=False):
                handle.write(chunk)
                progress.update(len(chunk))
                if most and handle.tell() > most:
                    break
        except urllib3.exceptions.HTTPError as error:
            problem = error
    size = _size(part)
    sums = _sums(part, resumed=have > 0)
    if _has_sum(file) and not _difference(file, sums):
        return sums  # whatever the server said of its length, this is the file
    if most and size > most:
        part.unlink()
        raise _UnavailableError(f"sends more than the {file.bytes:,} bytes of the catalogue")
    if isinstance(problem, urllib3.exceptions.TimeoutError):
        raise problem
    if expected is not None and size < expected:
        raise _RetryError(f"the connection ended after {size:,} of {expected:,} bytes")
    if problem:
        raise problem
    if text := _text(file, part):
        part.unlink()
        raise _UnavailableError(f"the server sent {text}, as for a log-in or a virus warning")
    return sums


def _text(file: RemoteFile, path: Path) -> str:
    """Return what a server says in place of a file, which is no text; "" for an archive or weights.

    A file that is JSON by its name may begin as JSON does.
    """
    with path.open("rb") as handle:
        head = handle.read(512)
    try:
        start = codecs.getincrementaldecoder("utf-8-sig")().decode(head)
    except UnicodeDecodeError:
        return ""
    if not start or "\0" in start or (file.name.endswith(".json") and start[0] in "{["):
        return ""
    kind = "a web page" if start.lstrip().lower().startswith(("<!doctype", "<html")) else "a text"
    return f"{kind} in the file's place ({' '.join(start.split())[:60]!r}…)"


def _difference(file: RemoteFile, sums: _Sums) -> str:
    """How a file's size and sums differ from the catalogue's, as far as it has any; "" if not."""
    differences = []
    if file.bytes not in (None, sums.bytes):
        differences.append(f"{sums.bytes:,} bytes where the catalogue has {file.bytes:,}")
    if file.sha256 not in (None, sums.sha256):
        differences.append(f"sha256 {sums.sha256} where the catalogue has {file.sha256}")
    if file.md5 not in (None, sums.md5):
        differences.append(f"md5 {sums.md5} where the catalogue has {file.md5}")
    if differences and file.sha256 is None:
        differences.append(f"its sha256 is {sums.sha256}")
    return ", ".join(differences)


def _has_sum(file: RemoteFile) -> bool:
    return file.sha256 is not None or file.md5 is not None


def _sums(path: Path, resumed: bool = False) -> _Sums:
    """SHA-256, and MD5, which some sources give instead."""
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        file.seek(0)
        md5 = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    return _Sums(path.stat().st_size, sha256, md5, resumed)


def _part(path: Path) -> Path:
    return path.with_name(f"{path.name}.part")


def _memory(path: Path) -> Path:
    return path.with_name(f".{path.name}.json")


def _remembered(path: Path) -> _Served | None:
    try:
        return _Served(**json.loads(_memory(path).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None  # it is only a shortcut: without it the file is downloaded anew


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


@contextmanager
def _alone(folder: Path, name: str) -> Iterator[None]:
    """Wait until no other run writes the files of this name in `folder`, then keep others out."""
    path = folder / f".{name}.lock"
    with _writing(path):
        folder.mkdir(parents=True, exist_ok=True)
        lock = locked(path, f"{name}: waiting for another run that is downloading it")
    with lock:
        yield


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Tell the user in one line why `path` cannot be written; on a full disk, leave none of it."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            with suppress(OSError):
                path.unlink()
        raise UserError(f"cannot write {path}: {error.strerror or error}") from error


def _reason(error: BaseException) -> str:
    """Find the system's own words at the bottom of a chain of network errors, else the error's."""
    words = " ".join(str(error).split())
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            words = cause.strerror
        cause = cause.__cause__ or cause.__context__
    return words


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
