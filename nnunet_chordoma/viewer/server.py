"""The page's server: this machine only, a secret in the address, and no file but those of the viewer's contents.

Files are asked for by number, never by path, so no path in a request can name one.
"""

from __future__ import annotations

import hmac
import json
import re
import secrets
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import BinaryIO

from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.viewer.contents import Contents
from nnunet_chordoma.viewer.details import Details
from nnunet_chordoma.viewer.page import CONTENT_SECURITY_POLICY, TYPES, Json, case_details, overview, page_files
from nnunet_chordoma.viewer.ratings import LONGEST_BODY, RatingSheet

ADDRESS = "127.0.0.1"
BLOCK = 1 << 20
TIMEOUT_S = 60

HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


class ViewerServer(ThreadingHTTPServer):
    """Serves one viewer's contents below `/TOKEN/`; `port` 0 takes a free one. Raises ChordomaError for a busy port."""

    daemon_threads = True

    def __init__(self, contents: Contents, port: int = 0) -> None:
        self.contents = contents
        self.details = Details(contents)
        self.sheet = None if contents.sheet is None else RatingSheet(contents.sheet)
        self.page_files = page_files()
        self.token = secrets.token_urlsafe(24)
        try:
            super().__init__((ADDRESS, port), _Handler)
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise ChordomaError(
                f"--port {port}: cannot listen on {ADDRESS}:{port} ({reason}); leave --port out to take a free one"
            ) from None

    @property
    def url(self) -> str:
        return f"http://{ADDRESS}:{self.server_port}/{self.token}/"

    @property
    def hosts(self) -> frozenset[str]:
        """What a browser that was not led here by a foreign name calls this server."""
        return frozenset(f"{name}:{self.server_port}" for name in (ADDRESS, "localhost"))

    def handle_error(self, request: object, client_address: object) -> None:
        """A browser that goes away in the middle of a file is no event."""


class _Refused(Exception):  # noqa: N818 - an answer, not an error of the program
    def __init__(self, status: HTTPStatus, reason: str = "") -> None:
        super().__init__(reason or status.phrase)
        self.status = status


class _Handler(BaseHTTPRequestHandler):
    server: ViewerServer
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "chordoma-view", ""
    timeout = TIMEOUT_S

    def do_GET(self) -> None:
        self._answer(self._get)

    def do_HEAD(self) -> None:
        self._answer(self._get)

    def do_POST(self) -> None:
        self._answer(self._post)

    def _answer(self, method: Callable[[str], None]) -> None:
        try:
            method(self._name())
        except _Refused as refused:
            self._send_json({"error": str(refused)}, refused.status)
        except ChordomaError as error:
            self._send_json({"error": str(error)}, HTTPStatus.UNPROCESSABLE_ENTITY)
        except OSError as error:
            # The browser went away, or a file did.
            self.close_connection = True
            if not isinstance(error, (ConnectionError, TimeoutError)):
                raise

    def _name(self) -> str:
        """What is asked for below the secret; refuses other hosts (DNS rebinding) and other secrets."""
        if self.headers.get("Host", "") not in self.server.hosts:
            raise _Refused(HTTPStatus.FORBIDDEN, "unknown host")
        token, slash, name = self.path.split("?", 1)[0].removeprefix("/").partition("/")
        if not (slash and hmac.compare_digest(token.encode(), self.server.token.encode())):
            raise _Refused(HTTPStatus.NOT_FOUND)
        return name

    def _get(self, name: str) -> None:
        if (path := self.server.page_files.get(name or "index.html")) is not None:
            self._send_file(path, TYPES[path.suffix])
        elif name == "api/overview":
            self._send_json(overview(self.server.contents))
        elif match := re.fullmatch(r"api/case/(\d{1,6})", name, re.ASCII):
            self._case_index(match[1])
            self._send_json(case_details(self.server.details.of(int(match[1]))))
        elif match := re.fullmatch(r"data/(\d{1,6})/(\d{1,6})", name, re.ASCII):
            files = self.server.contents.cases[self._case_index(match[1])].files
            if int(match[2]) >= len(files):
                raise _Refused(HTTPStatus.NOT_FOUND)
            self._send_file(files[int(match[2])], "application/octet-stream")
        elif name == "api/ratings" and self.server.sheet is not None:
            self._send_json(self.server.sheet.rows())
        else:
            raise _Refused(HTTPStatus.NOT_FOUND)

    def _case_index(self, text: str) -> int:
        if int(text) >= len(self.server.contents.cases):
            raise _Refused(HTTPStatus.NOT_FOUND)
        return int(text)

    def _post(self, name: str) -> None:
        # A refused body is not read, so what follows on this connection would be taken for a request.
        self.close_connection = True
        if name != "api/rating" or self.server.sheet is None:
            raise _Refused(HTTPStatus.NOT_FOUND)
        origin = self.headers.get("Origin")
        if origin is not None and origin.removeprefix("http://") not in self.server.hosts:
            raise _Refused(HTTPStatus.FORBIDDEN, "foreign origin")
        if self.headers.get_content_type() != "application/json":
            raise _Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit()):
            raise _Refused(HTTPStatus.LENGTH_REQUIRED)
        if int(length) > LONGEST_BODY:
            raise _Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        self._send_json(self.server.sheet.rate(self.rfile.read(int(length))))

    def _send_json(self, content: Json, status: HTTPStatus = HTTPStatus.OK) -> None:
        body = json.dumps(content, allow_nan=False).encode()
        self._head(status, {"Content-Type": "application/json", "Content-Length": str(len(body))})
        if self.command != "HEAD":
            self.wfile.write(body)

    def _send_file(self, path: Path, content_type: str) -> None:
        if path.is_symlink() or not path.is_file() or path.resolve() != path:
            # Paths were resolved at the start: a link here was put in since.
            raise _Refused(HTTPStatus.NOT_FOUND)
        with path.open("rb") as stream:
            size = path.stat().st_size
            first, last = self._range(size)
            head = {"Content-Type": content_type, "Content-Length": str(last - first), "Accept-Ranges": "bytes"}
            whole = (first, last) == (0, size)
            if not whole:
                head["Content-Range"] = f"bytes {first}-{last - 1}/{size}"
            self._head(HTTPStatus.OK if whole else HTTPStatus.PARTIAL_CONTENT, head)
            if self.command != "HEAD":
                self._send_blocks(stream, first, last)

    def _send_blocks(self, stream: BinaryIO, first: int, last: int) -> None:
        stream.seek(first)
        while first < last:
            block = stream.read(min(BLOCK, last - first))
            if not block:
                break
            self.wfile.write(block)
            first += len(block)

    def _range(self, size: int) -> tuple[int, int]:
        """First byte and the one after the last that are asked for; anything but one plain range is the whole file."""
        match = re.fullmatch(r"bytes=(\d{1,18})?-(\d{1,18})?", self.headers.get("Range", ""), re.ASCII)
        if match is None or match[0] == "bytes=-":
            return 0, size
        if match[1] is None:
            first, last = max(0, size - int(match[2])), size
        else:
            first, last = int(match[1]), size if match[2] is None else min(size, int(match[2]) + 1)
        if first >= last:
            raise _Refused(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)
        return first, last

    def _head(self, status: HTTPStatus, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in (HEADERS | headers).items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()

    def log_message(self, format: str, *arguments: object) -> None:
        """The address with its secret stays out of logs."""
