"""The way in: a file opened, and whatever is wrong with it told as a `ValidationError` that names it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from bookkeeper.errors import ValidationError
from bookkeeper.rootfile.container import RootFile
from bookkeeper.rootfile.source import Fault, open_source


@contextmanager
def open_root(location: str | os.PathLike[str]) -> Iterator[RootFile]:
    """Open a local path or URL as a ROOT file.

    `ValidationError` naming file, object and fault, both here and for every `Fault` met inside the block.
    """
    name = os.fspath(location)
    try:
        source = open_source(name)
    except (OSError, ValueError, ImportError) as error:  # a bad URL, a protocol whose package is missing
        raise ValidationError(f"{name}: it cannot be opened: {reason(error)}") from error
    try:
        yield RootFile(source)
    except Fault as fault:
        raise ValidationError(f"{name}: {fault}") from fault
    except OSError as error:
        raise ValidationError(f"{name}: it cannot be read: {reason(error)}") from error
    finally:
        source.close()


def reason(error: Exception) -> str:
    """Return an error's own words, without the number and the path that `OSError` adds."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
