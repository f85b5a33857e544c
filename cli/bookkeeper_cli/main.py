"""The command `bookkeeper`: run what was typed; whatever goes wrong becomes one message and an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from itertools import takewhile
from typing import Final

from bookkeeper.errors import BookkeeperError
from bookkeeper_cli import render

INTERRUPTED: Final = 130
BROKEN_PIPE: Final = 141
INTERNAL: Final = 70
"""What shells and sysexits.h call these ends; all others are in `bookkeeper.errors`."""

_REMEDIES: Final = {
    1: "`bookkeeper check` tells whether the catalog is sound",
    2: "`--help` behind the command shows what can be typed",
    3: "check the name",
    4: "choose another name, or look at what is there",
    5: "`bookkeeper project list` and `bookkeeper status PROJECT` show how things stand",
    6: "check the path, its folder and the permissions",
    7: "start another process",
    8: "look at the file; take a good copy, or make it again",
    9: "check the path, the space and the permissions, then try again",
    10: "`bookkeeper status PROJECT` says what is missing",
    11: "`bookkeeper project resume PROJECT` when the cause is mended",
    12: "`bookkeeper status PROJECT` shows how things stand",
    13: "`bookkeeper status PROJECT` shows how things stand",
    14: "`bookkeeper check` says what is wrong",
}
"""What to do next where an error does not say it better, by exit code."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line (that of this program where None); return its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    as_json = "--json" in takewhile(lambda word: word != "--", words)
    render.prepare_streams()
    try:
        code = _run(words)
        sys.stdout.flush()
        return code
    except BookkeeperError as error:
        render.error(error.message, error.remedy or _REMEDIES[error.exit_code], error.exit_code, as_json=as_json)
        return error.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        _let_go_of_stdout()
        return BROKEN_PIPE
    except OSError as error:
        _let_go_of_stdout()
        what = f"{error.filename}: {error.strerror}" if error.filename else error.strerror or str(error)
        render.error(what, _REMEDIES[9], 1, as_json=as_json)
        return 1
    except Exception as error:  # noqa: BLE001 - the last door: nobody is shown a traceback who did not ask for it
        render.internal_error(error, INTERNAL, as_json=as_json)
        return INTERNAL


def _run(words: list[str]) -> int:
    if words == ["--version"]:  # needs no parser: scripts ask for it often
        from bookkeeper import __version__

        render.line(f"bookkeeper {__version__}")
        return 0
    from bookkeeper_cli.app import run

    return run(words)


def _let_go_of_stdout() -> None:
    """Keep the interpreter from flushing, at its end, what nobody will read."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError):  # no real file: somebody captures the output
        return


if __name__ == "__main__":
    sys.exit(main())
