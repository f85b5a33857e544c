"""The keys that sign tokens: one file beside the catalog, for its owner only; never in the database, never in a backup.

The newest key signs. A key that was retired has lost its private half; its public half verifies until the last token that
it signed has ended. Keys are JSON web keys (RFC 7517, RFC 8037), named by their thumbprints (RFC 7638).
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bookkeeper.errors import CatalogError
from bookkeeper.sqlite.connections import exclusively

if TYPE_CHECKING:
    from joserfc.jwk import OKPKey

ALGORITHM: Final = "Ed25519"
"""The one algorithm of our tokens (RFC 9864): none is ever taken from a token's header."""

LARGEST: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key of ours. ``verify_until`` (epoch seconds) is set when it is retired."""

    kid: str
    created_at: float
    verify_until: float | None
    key: OKPKey = field(repr=False)

    @property
    def signs(self) -> bool:
        """Whether the private half is there."""
        return bool(self.key.is_private)

    def record(self) -> dict[str, Any]:
        """Return the key as it stands in the file."""
        times = {"created_at": self.created_at, "verify_until": self.verify_until}
        return {**self.key.as_dict(private=self.signs), "kid": self.kid, **times}


class KeyFile:
    """The keys of one catalog. A change of the file is seen at the next use."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "keys.json"
        self._seen: tuple[int, int, int] | None = None
        self._keys: tuple[SigningKey, ...] = ()

    def known(self) -> tuple[SigningKey, ...]:
        """Return the keys, newest first; none where there is no file. Raises `CatalogError`."""
        try:
            about = self.path.stat()
        except FileNotFoundError:
            self._seen, self._keys = None, ()
            return ()
        except OSError as error:
            raise _unusable(self.path, error.strerror or "it cannot be read") from error
        seen = (about.st_ino, about.st_mtime_ns, about.st_size)
        if seen != self._seen:
            self._keys, self._seen = _read(self.path), seen
        return self._keys

    def verifying(self, kid: str, now: float) -> OKPKey | None:
        """Return the key of this name if it may verify a token now."""
        for key in self.known():
            if key.kid == kid and (key.verify_until is None or now <= key.verify_until):
                return key.key
        return None

    def signing(self) -> SigningKey | None:
        """Return the key that signs, None where there is none yet."""
        return next((key for key in self.known() if key.signs), None)

    @contextlib.contextmanager
    def changing(self) -> Iterator[None]:
        """Hold the keys for a block: nobody rotates them while a token is being signed."""
        with _translated(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            lock = exclusively(self.path.with_name("keys.lock"))
        with lock:
            for leftover in self.path.parent.glob(".keys.*.part"):  # of a program that was killed while it wrote
                leftover.unlink(missing_ok=True)
            yield

    def add(self, now: float, *, retire: Mapping[str, float] | None = None) -> SigningKey:
        """Make a key that signs from now on, and write the file; call it in `changing`.

        ``retire`` names the keys to keep for verifying, and until when (epoch seconds); all others go.
        """
        fresh = SigningKey((made := _generated()).thumbprint(), now, None, made)
        kept = tuple(
            SigningKey(key.kid, key.created_at, until, _public(key.key))
            for key in self.known()
            if (until := (retire or {}).get(key.kid)) is not None and until > now
        )
        self._write((fresh, *kept))
        return fresh

    def _write(self, keys: tuple[SigningKey, ...]) -> None:
        """Replace the file: whole or not at all, and readable by nobody else at any moment."""
        text = json.dumps({"keys": [key.record() for key in keys]}, indent=1)
        with _translated(self.path):
            descriptor, name = tempfile.mkstemp(prefix=".keys.", suffix=".part", dir=self.path.parent)
            try:
                with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
                    stream.write(text)
                    stream.flush()
                    os.fsync(stream.fileno())
                Path(name).replace(self.path)
            except BaseException:
                Path(name).unlink(missing_ok=True)
                raise
            folder = os.open(self.path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)


def _generated() -> OKPKey:
    from joserfc.jwk import OKPKey

    return OKPKey.generate_key("Ed25519", private=True, auto_kid=False)


def _public(key: OKPKey) -> OKPKey:
    from joserfc.jwk import OKPKey

    return OKPKey.import_key({name: key.as_dict(private=False)[name] for name in ("kty", "crv", "x")})


def _read(path: Path) -> tuple[SigningKey, ...]:
    text = private_text(path)
    try:
        found = tuple(_parsed(one) for one in json.loads(text)["keys"])
    except Exception as error:  # noqa: BLE001 - whatever is wrong with it, its content is told to nobody
        raise _unusable(path, f"it holds no keys ({type(error).__name__})") from None
    return tuple(sorted(found, key=lambda key: -key.created_at))


def _parsed(one: dict[str, Any]) -> SigningKey:
    from joserfc.jwk import OKPKey

    if one["kty"] != "OKP" or one["crv"] != "Ed25519":
        raise ValueError
    key = OKPKey.import_key({name: one[name] for name in ("kty", "crv", "x", "d") if name in one})
    until = one["verify_until"]
    if key.thumbprint() != one["kid"]:
        raise ValueError
    return SigningKey(one["kid"], float(one["created_at"]), None if until is None else float(until), key)


def private_text(path: Path) -> str:
    """Return the text of a file of secrets, if nobody but its owner, who must be us, can read or write it."""
    with _translated(path):
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(descriptor, encoding="utf-8", errors="replace") as stream:
            about = os.fstat(stream.fileno())
            if not stat.S_ISREG(about.st_mode):
                raise _unusable(path, "it is no ordinary file")
            if about.st_uid != os.geteuid():
                raise _unusable(path, "it belongs to another user")
            if about.st_mode & 0o077:
                raise CatalogError(
                    f"{path} can be read or written by others (mode {about.st_mode & 0o777:04o}): it is not used",
                    remedy=f"chmod 600 {path}; if others may have read it, also `bookkeeper token rotate --compromised`",
                )
            return stream.read(LARGEST)


@contextlib.contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _unusable(path, error.strerror or "it cannot be used") from error


def _unusable(path: Path, why: str) -> CatalogError:
    return CatalogError(
        f"the keys in {path} cannot be used: {why}", remedy="look at the file; it must be yours, mode 0600"
    )
