"""The standard streams: what they are, and how to write to them."""

from __future__ import annotations

import contextlib
import io
import os
import re
import shutil
import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from rich.console import Console

_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""What drives a terminal: control characters, and those that turn the direction of writing (Unicode, UAX #9)."""


def prepare_streams() -> None:
    """Let no character of a file name or a reason break the output."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def on_terminal(*, errors: bool = False) -> bool:
    """Tell whether a person watches the output (or the messages)."""
    stream = sys.stderr if errors else sys.stdout
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def coloured(*, errors: bool = False) -> bool:
    """Tell whether colours are wanted."""
    return on_terminal(errors=errors) and not os.environ.get("NO_COLOR")


def width() -> int:
    """Return the columns of the terminal."""
    return shutil.get_terminal_size().columns


def console(*, errors: bool = False) -> Console:
    """Return rich's door to the output (or the messages): nothing is taken as markup, nothing highlighted."""
    from rich.console import Console

    return Console(
        file=sys.stderr if errors else sys.stdout,
        markup=False,
        highlight=False,
        emoji=False,
        color_system="auto" if coloured(errors=errors) else None,
    )


def visible(text: str) -> str:
    """Return a text whose control characters are written out."""
    return _CONTROL.sub(lambda found: repr(found[0])[1:-1], text)


def visible_json(text: str) -> str:
    """Return JSON that says the same, whose control characters are written out."""
    return _CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def line(text: str = "") -> None:
    """Print a line."""
    print(visible(text))  # noqa: T201 - this is the place


def raw(text: str) -> None:
    """Print a text as it is."""
    sys.stdout.write(text)


def message(text: str) -> None:
    """Print a line where messages go, after what was printed before it: both may end in one place."""
    with contextlib.suppress(OSError, ValueError):  # a closed output is told by whoever writes to it
        sys.stdout.flush()
    print(visible(text), file=sys.stderr)  # noqa: T201


def drawable(stream_character: str = "█") -> bool:
    """Tell whether the output can show more than ASCII."""
    try:
        stream_character.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True
