"""``dav://`` and ``davs://``, the field's names for WebDAV over HTTP and HTTPS: webdav4's file system, one for each server.

Whoever has a token shows it, where WLCG's clients look for one (`token`); other credentials are options of fsspec's
configuration: ``FSSPEC_DAVS='{"auth": ["user", "password"]}'``.
"""

from __future__ import annotations

import os
import ssl
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import httpx
from fsspec.spec import AbstractBufferedFile
from webdav4.client import ResourceNotFound
from webdav4.fsspec import WebdavFileSystem, translate_info

PATIENCE: Final = 60.0
"""Seconds for one answer of a server."""

BLOCK: Final = 4 << 20


def token() -> str | None:
    """Return the bearer token of this environment, None without one (WLCG Bearer Token Discovery 1.0)."""
    if said := os.environ.get("BEARER_TOKEN", "").strip():
        return said
    runtime, mine = os.environ.get("XDG_RUNTIME_DIR"), f"bt_u{os.geteuid()}"
    for place in (os.environ.get("BEARER_TOKEN_FILE"), runtime and f"{runtime}/{mine}", f"/tmp/{mine}"):  # noqa: S108
        try:
            if place and (Path(place).stat().st_uid == os.geteuid() or place == os.environ.get("BEARER_TOKEN_FILE")):
                return Path(place).read_text().strip() or None
        except OSError:
            continue
    return None


class Bearer(httpx.Auth):
    """Shows the token that there is at the time: it may be renewed while a job runs."""

    def auth_flow(self, request: httpx.Request) -> Iterator[httpx.Request]:  # type: ignore[override]
        """Add the token to a request; never over a connection that others can read."""
        if request.url.scheme == "https" and (found := token()) is not None:
            request.headers["Authorization"] = f"Bearer {found}"
        yield request


class DavFileSystem(WebdavFileSystem):  # type: ignore[misc]
    """A server's files. ``scheme`` is ``dav`` or ``davs``, ``base_url`` the server's; the rest are options of httpx."""

    protocol = ("dav", "davs")

    def __init__(self, base_url: str, scheme: str = "davs", **options: Any) -> None:
        options["auth"] = tuple(options["auth"]) if options.get("auth") else Bearer()
        options["headers"] = {"Accept-Encoding": "identity", **options.get("headers", {})}
        options.setdefault("timeout", PATIENCE)
        if isinstance(options.get("verify"), str):
            options["verify"] = ssl.create_default_context(cafile=options["verify"])
        super().__init__(base_url, **options)
        weakref.finalize(self, self.client.http.close)
        self.scheme, self.server = scheme, base_url.partition("://")[2]

    @staticmethod
    def _get_kwargs_from_urls(path: str) -> dict[str, str]:
        scheme, _, rest = str(path).partition("://")
        return {"base_url": f"{'http' if scheme == 'dav' else 'https'}://{rest.partition('/')[0]}", "scheme": scheme}

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        if isinstance(path, list):
            return [cls._strip_protocol(one) for one in path]
        scheme, separator, rest = str(path).partition("://")
        inner = rest.partition("/")[2] if separator and scheme in cls.protocol else str(path)
        return inner.strip("/")

    def unstrip_protocol(self, name: str) -> str:
        """Return the whole URL of an object."""
        return name if "://" in name else f"{self.scheme}://{self.server}/{name.strip('/')}"

    def address(self, path: str) -> str:
        """Return what HTTP calls an object."""
        return f"{self.client.base_url!s}/{quote(self._strip_protocol(path))}"

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        """Return what lies at a path, of a folder without what is in it."""
        path = self._strip_protocol(path)
        try:
            answer = self.client.propfind(path, headers={"Depth": "0"}, follow_redirects=True)
            found = answer.get_response_for_path(self.client.base_url.path, path)
        except ResourceNotFound as error:
            raise FileNotFoundError(path) from error
        return {**_typed(translate_info(found.properties.as_dict())), "name": path}

    def ls(self, path: str, detail: bool = True, **options: Any) -> list[Any]:
        """Return what is directly in a folder."""
        found = [_typed(one) for one in super().ls(path, detail=True, **options)]
        return found if detail else [one["name"] for one in found]

    def _open(self, path: str, mode: str = "rb", block_size: int | None = None, **options: Any) -> Any:
        if mode != "rb":
            return super()._open(path, mode, block_size, **options)
        return DavFile(self, self._strip_protocol(path), mode, block_size or BLOCK, **options)

    def isdir(self, path: str) -> bool:
        """Tell whether a path is a folder."""
        try:
            return bool(self.info(path)["type"] == "directory")
        except FileNotFoundError:
            return False


class DavFile(AbstractBufferedFile):  # type: ignore[misc]
    """An object being read, anywhere in it: not every server that serves ranges says so, as webdav4 wants to be told."""

    def _fetch_range(self, start: int, end: int) -> bytes:
        wanted = {"Range": f"bytes={start}-{end - 1}"}
        with self.fs.client.http.stream(
            "GET", self.fs.address(self.path), headers=wanted, follow_redirects=True
        ) as answer:
            if answer.status_code == httpx.codes.PARTIAL_CONTENT:
                return bytes(answer.read())
            if answer.is_success and (start, end) == (0, self.size):
                return bytes(answer.read())
            if answer.status_code == httpx.codes.NOT_FOUND:
                raise FileNotFoundError(self.path)
            if answer.is_success:
                raise OSError(f"{self.path}: the server does not serve parts of a file")
            raise OSError(f"{self.path}: the server said {answer.status_code} {answer.reason_phrase}")


def _typed(info: dict[str, Any]) -> dict[str, Any]:
    """Return what was found; what has no type is a file (RFC 4918: its ``resourcetype`` may be empty, or left out)."""
    return {**info, "type": info["type"] or "file"}
