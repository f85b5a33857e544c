"""The placeholders of a command, filled in word by word; no shell is ever involved.

=================  ================================================================================
``{inputs}``       one argument per input file: an absolute path or a URL. A word of its own
``{output}``       the absolute path where the output is to be written; ``{output.KEY}`` if there are several
``{process}``      the number of the process
``{partition}``    the number of the partition, where the project has partitions
``{{`` and ``}}``  braces
=================  ================================================================================
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence

from bookkeeper.errors import UsageError

_TOKEN = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")


def problems(command: Sequence[str], keys: Sequence[str | None], *, partitioned: bool) -> Iterator[str]:
    """Yield what is wrong with the placeholders of a command whose outputs have these keys, in words."""
    allowed = _allowed(keys, partitioned)
    for word in command:
        for match in _TOKEN.finditer(word):
            name = match.group(1)
            if match.group() in ("{", "}"):
                yield f"{word!r} has a single {match.group()}; write {match.group() * 2} for a brace"
            elif name is None or name in allowed:
                if name == "inputs" and word != "{inputs}":
                    yield f"{{inputs}} becomes one argument per file: it must be a word of its own, not in {word!r}"
            elif name == "output" and keys:
                yield f"{{output}} could be any of {len(keys)} outputs; allowed: {_listed(allowed)}"
            else:
                yield f"unknown placeholder {{{name}}}; allowed: {_listed(allowed)} ({{{{ and }}}} for braces)"


def expand(command: Sequence[str], inputs: Sequence[str], values: Mapping[str, str]) -> list[str]:
    """Return the arguments of a command; ``values`` are those of all placeholders but ``{inputs}``."""
    words: list[str] = []
    for word in command:
        if word == "{inputs}":
            words += inputs
        else:
            words.append(_TOKEN.sub(lambda match: _value(match, values), word))
    return words


def resolve(program: str, workdir: str, path: str | None) -> str:
    """Return the absolute path of a command's program, as exec would find it. Raises `UsageError`.

    A name without ``/`` is looked up in ``path``, anything else is relative to the working folder.
    """
    if not os.path.isdir(workdir):  # noqa: PTH112
        raise UsageError(f"the working folder {workdir} does not exist", remedy="make it, or start from another one")
    if "/" not in program:
        found = shutil.which(program, path=path)
        if found is None:
            raise UsageError(f"{program}: no such program in $PATH", remedy="install it, or write its path")
        return os.path.join(workdir, found)  # noqa: PTH118 - $PATH may have relative folders
    place = os.path.join(workdir, program)  # noqa: PTH118 - an absolute program stays as it is
    if not os.path.exists(place):  # noqa: PTH110
        raise UsageError(
            f"{place}: there is no such program", remedy="a relative program is looked for in the spec's folder"
        )
    if not os.path.isfile(place) or not os.access(place, os.X_OK):  # noqa: PTH113
        raise UsageError(f"{place} is not executable", remedy=f"chmod +x {place}")
    return place


def _allowed(keys: Sequence[str | None], partitioned: bool) -> list[str]:
    names = ["inputs", "process"]
    if len(keys) == 1:
        names.append("output")
    names += [f"output.{key}" for key in keys if key is not None]
    if partitioned:
        names.append("partition")
    return names


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"{{{name}}}" for name in names)


def _value(match: re.Match[str], values: Mapping[str, str]) -> str:
    name = match.group(1)
    if name is None:
        return match.group()[0]
    if name not in values:
        raise UsageError(f"unknown placeholder {{{name}}}", remedy=f"allowed: {_listed(['inputs', *values])}")
    return values[name]
