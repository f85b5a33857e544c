"""The files of a submission: the script that each job runs, and the command lines that hand it over."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from bookkeeper.executors.batch import Order

ARRAY: Final = 1000
"""Jobs of an array, at most: what Slurm allows unless a site says otherwise (``MaxArraySize`` 1001), and a power of ten."""

SCRIPT: Final = "job.sh"
COMMANDS: Final = "submit.sh"

_BODY: Final = """\
#!/bin/bash
# Written by bookkeeper: one job of {name}. Its number is the last word of its output file's name.
number=$(({first} + SLURM_ARRAY_TASK_ID))
export BOOKKEEPER_JOB_ID="${{SLURM_ARRAY_JOB_ID}}_${{SLURM_ARRAY_TASK_ID}}"
{exports}cd {folder} || exit 1
rm -f "exit.$number"
trap : TERM INT USR1 USR2  # the command is told as well: its end is waited for
{command}
code=$?
printf '%s %s %s\\n' "$code" "$(date +%s)" "$BOOKKEEPER_JOB_ID" > "exit.$number.new" && mv "exit.$number.new" "exit.$number"
exit "$code"
"""


def name_of(order: Order, chunk: int = 0) -> str:
    """Return the name by which the jobs of an array are found again: the title for people, the tag for us."""
    title = re.sub(r"[^A-Za-z0-9_.+-]", "_", order.title)[:40]
    return f"{title}-{order.tag}.{chunk}"


def chunks(count: int) -> range:
    """Return the numbers of the arrays that so many jobs need."""
    return range((count + ARRAY - 1) // ARRAY)


def size(count: int, chunk: int) -> int:
    """Return how many jobs of ``count`` are in an array."""
    return min(ARRAY, count - chunk * ARRAY)


def number_of(chunk: int, task: int) -> int:
    """Return the number of a job in its submission."""
    return chunk * ARRAY + task


def output_of(chunk: int, name: str) -> str:
    """Return the pattern of a file of a job: ``out.17``, and ``out.2017`` for the 17th of the third array."""
    return f"{name}.%a" if chunk == 0 else f"{name}.{chunk}%{len(str(ARRAY)) - 1}a"


def script_of(order: Order, chunk: int) -> Path:
    """Return where the script of an array is."""
    return order.folder / (SCRIPT if chunk == 0 else f"{chunk}.{SCRIPT}")


def command_line(order: Order, asked: Sequence[str], chunk: int) -> list[str]:
    """Return the words for ``sbatch`` that hand over an array."""
    return [
        "--parsable",
        f"--job-name={name_of(order, chunk)}",
        f"--array=0-{size(order.count, chunk) - 1}",
        f"--chdir={order.folder}",  # the next two are relative to it: a % in its name is none of a pattern
        f"--output={output_of(chunk, 'out')}",
        f"--error={output_of(chunk, 'err')}",
        "--export=ALL",
        *asked,
        str(script_of(order, chunk)),
    ]


def write(order: Order, asked: Sequence[str]) -> list[Path]:
    """Write the files of a submission, and return them. Written again, they are the same."""
    written = []
    for chunk in chunks(order.count):
        path = script_of(order, chunk)
        _put(path, _text(order, chunk))
        written.append(path)
    lines = [shlex.join(["sbatch", *command_line(order, asked, chunk)]) for chunk in chunks(order.count)]
    commands = order.folder / COMMANDS
    _put(commands, "#!/bin/sh\n# What bookkeeper runs to hand over these jobs.\n" + "\n".join(lines) + "\n")
    return [*written, commands]


def _text(order: Order, chunk: int) -> str:
    variables = dict(order.asks.environment)
    if order.asks.proxy:
        variables["X509_USER_PROXY"] = order.asks.proxy
    if order.asks.token:
        variables["BEARER_TOKEN_FILE"] = order.asks.token
    return _BODY.format(
        name=name_of(order, chunk),
        first=chunk * ARRAY,
        exports="".join(f"export {name}={shlex.quote(value)}\n" for name, value in variables.items()),
        folder=shlex.quote(str(order.folder)),
        command=shlex.join(order.command),
    )


def _put(path: Path, text: str) -> None:
    """Write a file whole: whoever reads it meanwhile sees the old or the new one. It may hold secrets of the environment."""
    made = path.with_name(path.name + ".new")
    made.touch(mode=0o700)
    made.write_text(text, encoding="utf-8")
    made.replace(path)
