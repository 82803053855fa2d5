"""A real HTTP server on this machine that misbehaves as it is told, for tests of downloads."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Answer:
    """How one request is answered; by default as a good server does, ranges included.

    `breaks_after`, `stalls_after`: bytes of this answer's body after which the connection is closed
    or falls silent. `promises`: bytes that Content-Length says more (or less) than there are.
    `knows_ranges`, `knows_if_range`: without, the whole file is sent, or the range even of a
    changed file. `refuses_ranges`: 416 to every range. `chunked`: no Content-Length.
    """

    body: bytes = b""
    status: int = 200
    etag: str = '"1"'
    modified: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    breaks_after: int | None = None
    stalls_after: int | None = None
    promises: int = 0
    knows_ranges: bool = True
    knows_if_range: bool = True
    refuses_ranges: bool = False
    chunked: bool = False


@dataclass(frozen=True)
class Request:
    """What the server was asked: the path and the headers that matter to a resumed download."""

    path: str
    range: str
    if_range: str
    if_none_match: str
    if_modified_since: str
    user_agent: str


class Server:
    """`answers[PATH]`: one answer a request, in order; the last is given to all later ones."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.answers: dict[str, list[Answer]] = {}
        self.requests: list[Request] = []
        self.sent = 0  # bytes of chunked bodies that clients took
        self.over = threading.Event()
        self._lock = threading.Lock()

    def answer(self, request: Request) -> Answer:
        with self._lock:
            asked = sum(earlier.path == request.path for earlier in self.requests)
            self.requests.append(request)
        answers = self.answers.get(request.path, [Answer(b"no such file\n", status=404)])
        return answers[min(asked, len(answers) - 1)]


@contextmanager
def serving() -> Iterator[Server]:
    """A server on a free port of this machine, until the block ends."""
    httpd = _Listener(("127.0.0.1", 0), _Handler)
    server = httpd.script = Server(f"http://127.0.0.1:{httpd.server_port}")
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.over.set()
        httpd.shutdown()
        thread.join()
        httpd.server_close()


class _Listener(ThreadingHTTPServer):
    script: Server


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Listener

    def do_GET(self) -> None:
        script = self.server.script
        names = ("Range", "If-Range", "If-None-Match", "If-Modified-Since", "User-Agent")
        request = Request(self.path, *(self.headers.get(name, "") for name in names))
        answer = script.answer(request)
        status, body, headers = _response(answer, request)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Connection", "close")
        self.close_connection = True
        self.end_headers()
        if answer.chunked:
            with suppress(ConnectionError):  # a client may have had enough
                self._send_chunks(body, script)
            return
        ends = [at for at in (answer.breaks_after, answer.stalls_after) if at is not None]
        self.wfile.write(body[: min(ends, default=len(body))])
        self.wfile.flush()
        if answer.stalls_after is not None:
            script.over.wait(30)

    def _send_chunks(self, body: bytes, script: Server) -> None:
        for start in range(0, len(body), 10_000):
            chunk = body[start : start + 10_000]
            self.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
            script.sent += len(chunk)
        self.wfile.write(b"0\r\n\r\n")

    def log_message(self, format: str, *args: object) -> None:
        pass


def _response(answer: Answer, request: Request) -> tuple[int, bytes, dict[str, str]]:
    given = {"ETag": answer.etag, "Last-Modified": answer.modified}
    headers = {name: value for name, value in given.items() if value} | answer.headers
    conditions = (
        (answer.etag, request.if_none_match),
        (answer.modified, request.if_modified_since),
    )
    if answer.status == 200 and any(has and has == known for has, known in conditions):
        return 304, b"", headers
    start = re.fullmatch(r"bytes=(\d+)-", request.range)
    ranged = start is not None and answer.knows_ranges and answer.status == 200
    changed = request.if_range and request.if_range not in (answer.etag, answer.modified)
    if ranged and changed and answer.knows_if_range:
        ranged = False
    status, body, size = answer.status, answer.body, len(answer.body)
    if ranged and start:
        first = int(start[1])
        if first >= size or answer.refuses_ranges:
            headers |= {"Content-Range": f"bytes */{size}", "Content-Length": "0"}
            return 416, b"", headers
        status, body = 206, body[first:]
        headers["Content-Range"] = f"bytes {first}-{size - 1}/{size}"
    if answer.chunked:
        headers["Transfer-Encoding"] = "chunked"
    else:
        headers["Content-Length"] = str(len(body) + answer.promises)
    return status, body, headers
