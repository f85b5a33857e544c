"""Write a token where only its owner reads it."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from bookkeeper.errors import Conflict, UsageError

LOOKS: Final = re.compile(rb"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\s*")
LONGEST: Final = 100_000


@contextlib.contextmanager
def handing_over(path: Path) -> Iterator[Callable[[str], None]]:
    """Give what writes a token to ``path``, mode 0600; it is there whole, or what was there before is.

    That it can be written is known before the token is made. An older token there is replaced, anything else is kept.
    Raises `Conflict`, `UsageError`.
    """
    try:
        if os.path.lexists(path):
            with path.open("rb") as stream:
                if not path.is_file() or not LOOKS.fullmatch(stream.read(LONGEST)):
                    raise Conflict(f"{path} exists and is no token; it is kept", remedy="name another file")
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as error:
        raise UsageError(
            f"{path} cannot be written: {error.strerror}", remedy="name a file in a folder of yours"
        ) from error
    beside = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as secret:

            def put(token: str) -> None:
                try:
                    secret.write(f"{token}\n".encode())
                    secret.flush()
                    os.fsync(secret.fileno())
                    beside.replace(path)
                except OSError as error:
                    raise UsageError(
                        f"{path} cannot be written: {error.strerror}; nobody has the token that was made",
                        remedy="`bookkeeper token list` shows it, `bookkeeper token revoke` ends it",
                    ) from error

            yield put
    finally:
        beside.unlink(missing_ok=True)
