"""Storage behind ``dav://`` and ``davs://``: a streamed upload, a rename that does not replace, and the server's Adler-32.

A server that is asked for a digest (RFC 3230, ``Want-Digest: adler32``) answers with it or ignores the question; then
the object is read back. ``MOVE`` with ``Overwrite: F`` (RFC 4918) refuses a name that is taken. Not every server heeds
that, nor ``If-None-Match: *`` (RFC 9110), so there is one publisher at a time here too, who looks before.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from queue import Empty, Queue
from typing import Any, Final

from bookkeeper.drivers import named
from bookkeeper.errors import BookkeeperError
from bookkeeper.stageout.names import parent
from bookkeeper.stageout.remote import RemoteStore

CHECKSUM_PATIENCE: Final = 3600.0
"""Seconds for a checksum, which a server has to read the file for."""

_NEW: Final = {"If-None-Match": "*"}
_DIGEST: Final = re.compile(r"(?:^|,)\s*adler32=([0-9a-f]{1,8})\s*(?:,|$)", re.IGNORECASE)
_ERRNO: Final = {
    401: errno.EACCES,
    403: errno.EACCES,
    404: errno.ENOENT,
    409: errno.ENOENT,  # RFC 4918: a folder on the way is missing
    412: errno.EEXIST,
    413: errno.EFBIG,
    423: errno.EBUSY,
    507: errno.ENOSPC,
}


def _refused(status: int, reason: str, url: str) -> OSError:
    """Return the `OSError` that an answer is; one that is not known, with the server's words."""
    number = _ERRNO.get(status)
    return (
        OSError(number, os.strerror(number), url) if number else OSError(0, f"the server said {status} {reason}", url)
    )


@contextmanager
def _said(url: str) -> Iterator[None]:
    """Turn what webdav4 makes of an answer into an `OSError`; name the object in whatever else is raised."""
    from webdav4.client import (
        ForbiddenOperation,
        HTTPError,
        InsufficientStorage,
        ResourceAlreadyExists,
        ResourceConflict,
        ResourceLocked,
        ResourceNotFound,
    )

    statuses: dict[type[Exception], int] = {
        ForbiddenOperation: 403,
        ResourceNotFound: 404,
        ResourceConflict: 409,
        ResourceAlreadyExists: 412,
        ResourceLocked: 423,
        InsufficientStorage: 507,
    }
    try:
        with named(url):
            yield
    except BookkeeperError as error:
        cause = error.__cause__
        if isinstance(cause, HTTPError):
            raise _refused(cause.status_code, cause.response.reason_phrase, url) from cause
        for kind, status in statuses.items():
            if isinstance(cause, kind):
                raise _refused(status, "", url) from cause
        raise


class _Abandoned(Exception):
    """The writer went away before the last byte."""


class DavSink:
    """An object being written: a second thread sends what this one writes, so that nothing is spooled."""

    def __init__(self, http: Any, address: str, url: str, size: int) -> None:
        self.url = url
        self._pieces: Queue[bytes | _Abandoned | None] = Queue(2)
        self._over = False
        self._pool = ThreadPoolExecutor(1, "webdav")
        self._answer: Future[Any] = self._pool.submit(self._send, http, address, size)

    def _send(self, http: Any, address: str, size: int) -> Any:
        try:
            return http.put(address, content=self._body(), headers={"Content-Length": str(size), **_NEW})
        finally:
            self._over = True
            with suppress(Empty):  # whoever waits for room must not wait for ever
                while True:
                    self._pieces.get_nowait()

    def _body(self) -> Iterator[bytes]:
        while (piece := self._pieces.get()) is not None:
            if isinstance(piece, _Abandoned):
                raise piece
            yield piece

    def write(self, piece: memoryview) -> None:
        """Write all of ``piece``."""
        self._pieces.put(bytes(piece))
        if self._over:
            self._outcome()
            raise OSError(0, "the server answered before it had everything", self.url)

    def finish(self) -> None:
        """Send the end, and wait until the server has it all."""
        self._pieces.put(None)
        try:
            self._outcome()
        finally:
            self._pool.shutdown()

    def abandon(self) -> None:
        """End the upload in its middle; what the server keeps of it, the caller removes."""
        if not self._answer.done():
            self._pieces.put(_Abandoned())
        self._pool.shutdown()

    def _outcome(self) -> None:
        with _said(self.url):
            answer = self._answer.result()
        if not answer.is_success:
            raise _refused(answer.status_code, answer.reason_phrase, self.url)


class DavStore(RemoteStore):
    """A storage that speaks WebDAV."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.copies = False
        self._http = self.fs.client.http

    def driver(self, url: str) -> Any:
        """Name the object in what the driver raises, as the operating system would."""
        return _said(url)

    def proof(self, url: str, on_chunk: Callable[[int], None] | None = None) -> tuple[int, str]:
        """Return size and Adler-32 as the server computes it; where it offers none, as `measure` reads them."""
        with _said(url):
            headers = {"Want-Digest": "adler32"}
            answer = self._http.head(
                self.fs.address(url), headers=headers, timeout=CHECKSUM_PATIENCE, follow_redirects=True
            )
        said = _DIGEST.search(answer.headers.get("Digest", ""))
        if not answer.is_success or said is None:
            return self.measure(url, on_chunk)
        there = self.look(url)
        return (there.size if there else -1), f"adler32:{said[1].lower().zfill(8)}"

    def pieces(self, url: str) -> Iterator[bytes]:
        """Read an object from its start to its end, in one request; one that breaks off is an error."""
        from bookkeeper.stageout.remote import BLOCK

        with _said(url), self._http.stream("GET", self.fs.address(url), follow_redirects=True) as answer:
            if not answer.is_success:
                raise _refused(answer.status_code, answer.reason_phrase, url)
            yield from answer.iter_bytes(BLOCK)

    def read_small(self, url: str) -> bytes | None:
        """Return the content of a small object, `None` if there is none."""
        try:
            return b"".join(self.pieces(url))
        except FileNotFoundError:
            return None

    def write_small(self, url: str, data: bytes, *, replace: bool) -> None:
        """Write a small object aside and rename it, so that it is seen whole or not; see `place` for ``replace``."""
        if not replace and self.look(url) is not None:
            raise FileExistsError(url)
        aside = f"{url}.{secrets.token_hex(8)}"
        try:
            with _said(url):
                answer = self._http.put(self.fs.address(aside), content=data)
                if not answer.is_success:
                    raise _refused(answer.status_code, answer.reason_phrase, url)
                self.fs.client.move(self._path(aside), self._path(url), overwrite=replace)
        except BaseException:
            with suppress(OSError, BookkeeperError):
                self.remove(aside)
            raise

    def create(self, url: str, size: int) -> DavSink:
        """Open a new object; that its name is new is looked up, and kept by the uniqueness of temporary names."""
        if self.look(url) is not None:
            raise FileExistsError(url)
        self.make_folder(parent(url))
        return DavSink(self._http, self.fs.address(url), url, size)

    def place(self, temporary: str, final: str) -> None:
        """Rename an object; the caller saw that the final name is free."""
        with _said(final):
            self.fs.client.move(self._path(temporary), self._path(final), overwrite=False)

    def remove(self, url: str) -> bool:
        """Delete an object; return whether there was one. Never a folder, for WebDAV would delete what is in it too."""
        there = self.look(url)
        if there is not None and not there.is_file:
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), url)
        return super().remove(url)
