"""The submit description of a submission, in HTCondor's own language.

https://htcondor.readthedocs.io/en/latest/man-pages/condor_submit.html
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from bookkeeper.errors import UsageError
from bookkeeper.executors import credentials
from bookkeeper.executors.batch import Asks, Order
from bookkeeper.executors.htcondor.options import Options

TAG: Final = "BookkeeperTag"
"""The attribute by which a submission is found again."""

LOG: Final = "events.log"

OURS: Final = frozenset(
    {
        "arguments", "batch_name", "environment", "env", "error", "executable", "getenv", "initialdir", "input", "log",
        "max_idle", "max_materialize", "max_retries", "notification", "output", "queue", "transfer_executable", "universe",
        "log_xml", "success_exit_code", "when_to_transfer_output", "should_transfer_files", "transfer_input_files",
        "transfer_output_files", f"+{TAG}".lower(), f"my.{TAG}".lower(),
    }
)  # fmt: skip
"""What a spec may not say in other words: it would part the jobs from their submission."""

SHARED: Final = "PATH, HOME, LANG, LC_ALL, LD_LIBRARY_PATH, PYTHONPATH, VIRTUAL_ENV, CONDA_PREFIX"
"""What jobs that see the folders of this host have of its environment: HTCondor gives them not even a ``PATH``."""

_LINE: Final = re.compile(r"\s*(\+?[A-Za-z_][A-Za-z0-9_.]*)\s*=\s*(.*)")


def description(order: Order, options: Options) -> str:
    """Return the description. Raises `UsageError` for words that HTCondor cannot carry."""
    return "".join(f"{name} = {value}\n" for name, value in _lines(order, options))


def extra_lines(asks: Asks) -> Iterator[tuple[str, str]]:
    """Yield the extra lines of a spec as name and value. Raises `UsageError` for one that is none, or not the spec's to say."""
    for line in asks.extra:
        match = _LINE.fullmatch(line)
        if match is None or match[2].endswith("\\"):
            raise UsageError(
                f"[executor] extra: {line!r} is no line of a submit description", remedy="write name = value"
            )
        if match[1].lower() in OURS:
            raise UsageError(
                f"[executor] extra: {match[1]} is not for a spec to say",
                remedy="bookkeeper sets it; see [executor] and [job]",
            )
        yield match[1], match[2]


def _lines(order: Order, options: Options) -> Iterator[tuple[str, str]]:
    asks, travels = order.asks, order.asks.transfer == "files"
    yield "universe", "vanilla" if asks.container is None else "container"
    if asks.container is not None:
        yield "container_image", plain(asks.container)
        if not travels and "://" not in asks.container:
            yield "transfer_container", "false"
    program = next((str(path) for path in order.files if path.name == order.command[0]), None) if travels else None
    yield "executable", plain(program or order.command[0])
    yield "arguments", quoted(order.command[1:])
    yield "initialdir", plain(str(order.folder))
    yield "output", "out.$(Process)"
    yield "error", "err.$(Process)"
    yield "log", LOG
    shared = {} if travels or options.spool else credentials.of_copies(asks, order.folder)
    set_ = quoted(f"{name}={value}" for name, value in {**asks.environment, **shared}.items())
    ours = "BOOKKEEPER_JOB_ID=$(Cluster).$(Process)"
    if asks.token is not None and not shared:
        ours += f" {credentials.TOKEN_VARIABLE}=$$(CondorScratchDir)/{_token_name(order)}"
    yield "environment", f'"{set_[1:-1]} {ours}"'
    if not travels and asks.container is None:
        yield "getenv", SHARED
    yield "transfer_executable", "true" if program else "false"
    if travels or options.spool:
        yield "should_transfer_files", "YES"
        yield "when_to_transfer_output", "ON_EXIT"
        yield "transfer_output_files", '""'
    else:
        yield "should_transfer_files", "NO"
    inputs = [str(path) for path in order.files if str(path) != program]
    if not shared:  # from where it is renewed: a job that starts later has the newer one
        inputs += [asks.token] if asks.token is not None else []
        if asks.proxy is not None:
            yield "x509userproxy", plain(asks.proxy)
    if inputs:
        yield "transfer_input_files", ", ".join(map(_path, inputs))
    yield from _sizes(asks)
    yield "batch_name", plain(order.title)
    yield "notification", "never"
    if order.count > options.max_idle:
        yield "max_idle", str(options.max_idle)
    yield f"+{TAG}", string(order.tag)
    yield from extra_lines(asks)


def _sizes(asks: Asks) -> Iterator[tuple[str, str]]:
    if asks.memory_mb is not None:
        yield "request_memory", f"{asks.memory_mb:.0f}"
    if asks.disk_mb is not None:
        yield "request_disk", f"{asks.disk_mb * 1024:.0f}"
    if asks.cpus is not None:
        yield "request_cpus", str(asks.cpus)
    if asks.run_time_s is not None:
        yield "allowed_job_duration", f"{asks.run_time_s:.0f}"
        yield "+MaxRuntime", f"{asks.run_time_s:.0f}"
    if asks.queue is not None:
        yield "+JobFlavour", string(asks.queue)
    if asks.account is not None:
        yield "accounting_group", plain(asks.account)


def quoted(words: Iterable[str]) -> str:
    """Return words as the new syntax of ``arguments`` and ``environment`` has them: what is in them means nothing else."""
    return '"' + " ".join(_word(word) for word in words) + '"'


def _word(word: str) -> str:
    if "\n" in word or "\r" in word:
        raise UsageError(f"{word!r} has a line break in it, which HTCondor does not carry", remedy="put it in a script")
    if "$$" in word:
        raise UsageError(f"{word!r} has $$ in it, which HTCondor replaces", remedy="put it into a script")
    text = word.replace("'", "''").replace('"', '""').replace("$(", "$(DOLLAR)(")
    return f"'{text}'" if not text or re.search(r"[\s']", text) else text


def plain(value: str) -> str:
    """Return a value that stands alone on its line. Raises `UsageError` for what is no such value."""
    if re.search(r"[\n\r]|\$\$", value) or value != value.strip():
        raise UsageError(f"{value!r} is no value for HTCondor: it has a line break, $$ or a space at its end in it")
    return value.replace("$(", "$(DOLLAR)(")


def string(value: str) -> str:
    """Return a value as a string of a ClassAd."""
    return '"' + plain(value).replace("\\", "\\\\").replace('"', '\\"') + '"'


def _token_name(order: Order) -> str:
    """Return what the file of the token is called on the node. Raises `UsageError` for a name that cannot be carried."""
    name = Path(str(order.asks.token)).name
    if not re.fullmatch(r"[A-Za-z0-9_.+@-]+", name) or name in {path.name for path in order.files}:
        raise UsageError(f"[executor] token: a token's file cannot be called {name} here", remedy="rename it")
    return name


def _path(path: str) -> str:
    if "," in path:
        raise UsageError(f"{path} has a comma in its name, which HTCondor takes for the end of it", remedy="rename it")
    return plain(path)
