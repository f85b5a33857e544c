"""Where a person's or a job's token is found: in the environment, or in a file. Never on a command line."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from bookkeeper.errors import UsageError

VARIABLE: Final = "BOOKKEEPER_TOKEN"
FILE_VARIABLE: Final = "BOOKKEEPER_TOKEN_FILE"

_TOKEN: Final = re.compile(r"[!-~]{1,16384}")


def token_of(environment: Mapping[str, str] = os.environ) -> str | None:
    """Return the token that ``$BOOKKEEPER_TOKEN`` holds, else that of the file; None where there is neither.

    The file is ``$BOOKKEEPER_TOKEN_FILE``, else ``bookkeeper/token`` in the folder of the user's settings. Raises
    `UsageError`, which never shows a token, for one that is no token, and for a file that others may read.
    """
    if text := environment.get(VARIABLE, "").strip():
        return _checked(text, f"${VARIABLE}")
    named = environment.get(FILE_VARIABLE)
    path = Path(named) if named else _settings(environment) / "bookkeeper" / "token"
    try:
        mode, text = path.stat().st_mode, path.read_text(encoding="ascii").strip()
    except FileNotFoundError as error:
        if named:
            raise UsageError(
                f"${FILE_VARIABLE} names {path}, which is not there",
                remedy=f"put the token there (`bookkeeper token create` on the server makes one), or unset {FILE_VARIABLE}",
            ) from error
        return None
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "it is no text"
        raise UsageError(f"the token in {path} cannot be read: {why}") from error
    if mode & 0o077:
        raise UsageError(f"others may read the token in {path}", remedy=f"chmod 600 {path}")
    return _checked(text, str(path))


def _checked(text: str, where: str) -> str:
    if _TOKEN.fullmatch(text) is None:
        raise UsageError(f"what {where} holds is no token", remedy="`bookkeeper token create` makes one")
    return text


def _settings(environment: Mapping[str, str]) -> Path:
    folder = environment.get("XDG_CONFIG_HOME", "")
    return Path(folder) if folder.startswith("/") else Path.home() / ".config"
