"""Make the folder of a DAG: nothing of it runs before `submit`, or before `condor_submit_dag` in the folder."""

from __future__ import annotations

import os
import re
import secrets
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import Final

import msgspec

from bookkeeper import durations, projects
from bookkeeper.catalog import Database
from bookkeeper.dagman import folder as folders
from bookkeeper.dagman.folder import DAG_FILE, FORMAT, MAIN, Dag, Node, write_text
from bookkeeper.dagman.scripts import LATER, NEVER, SKIP
from bookkeeper.errors import Conflict, NotAllowed, NothingToDo, UsageError
from bookkeeper.executors.batch import Asks
from bookkeeper.retries import policies_of
from bookkeeper.spec import Spec
from bookkeeper.submit import prepare

WALL: Final = "8h"
GRACE: Final = "2d"
LATE: Final = 600.0
MOST_RETRIES: Final = 1000
SCRIPTS_AT_ONCE: Final = 10
"""Scripts that DAGMan runs at once: each is a Python with the catalog open."""

SUBMIT: Final = "node.sub"
EMPTY: Final = "final.sub"
CONFIG: Final = "dagman.config"
PROXY: Final = "x509userproxy"


def make(
    spec: Spec,
    database: Database,
    into: Path,
    *,
    wall: float | str | None = None,
    grace: float | str = GRACE,
    later: float | str = 30,
    held_for: float | str = "1h",
    adopt: bool = False,
) -> Dag:
    """Start the project of a spec, or find it started, and write a DAG for what is left of it into a new folder.

    ``wall`` is the wall-clock limit of a job (else the spec's ``run_time``) and ``grace`` what it may wait in the queue
    and on its way home: for both together its files are lent to it. A job that is held for ``held_for`` is removed, and
    its node tried again, unless a person holds it. A script that has to wait is started again after ``later``.

    Raises `NothingToDo` where nothing is left, `NotAllowed` for a project that cannot be worked on, `Conflict` where
    the folder is there already.
    """
    _check(spec)
    into = into.absolute()
    if into.exists():
        raise Conflict(
            f"{into} is there already", remedy="name a new folder; `bookkeeper dag submit` goes on with an old one"
        )
    prepare(spec, database)
    now = projects.status(database, spec.project.name)
    if now.complete or now.open_project is None:
        if now.complete:
            raise NothingToDo(f"project {spec.project.name} is complete")
        raise NotAllowed(
            f"project {spec.project.name} has ended incomplete",
            remedy=f"`bookkeeper recover {spec.project.name}` takes up what is missing",
        )
    rules = spec.rules()
    length = durations.seconds(wall or spec.executor.run_time or WALL)
    lease = length + durations.seconds(grace)
    if rules.max_wall is not None and rules.max_wall < lease:
        raise NotAllowed(
            f"project {spec.project.name} ends processes after {durations.words(rules.max_wall)} (max_wall), and files "
            f"would be lent for {durations.words(lease)}",
            remedy="give a shorter --wall and --grace, or raise the project's max_wall",
        )
    outputs = spec.process().outputs
    destinations = {one.destination for one in outputs}
    dag = Dag(
        format=FORMAT,
        id=secrets.token_hex(8),
        catalog=database.url,
        project=spec.project.name,
        wall=length,
        grace=durations.seconds(grace),
        later=durations.seconds(later),
        late=LATE,
        files_per_process=spec.job.files_per_process,
        destination=destinations.pop() if len(destinations) == 1 else None,
        validate="quick" if all(one.validate == "quick" for one in outputs) else "deep",
        adopt=adopt,
        nodes=_nodes(database, now, rules.files_per_process),
    )
    _write(spec, dag, into, durations.seconds(held_for), _retries(spec, rules.max_attempts))
    return dag


def _check(spec: Spec) -> None:
    if spec.executor.kind not in ("htcondor", "local"):
        raise UsageError(
            f'the spec says kind = "{spec.executor.kind}" in [executor]: DAGMan is HTCondor\'s',
            remedy='write kind = "htcondor"',
        )
    if spec.near:
        raise UsageError(
            "the spec stores outputs near first: a job with a ticket has nobody who would transfer them",
            remedy="leave near out of [output], or `bookkeeper submit` it where a server of ours may run",
        )
    if spec.executor.token:
        raise UsageError(
            "[executor] token: nodes of a DAG are given none",
            remedy='use proxy, `bookkeeper submit`, or what the site offers: extra = ["use_oauth_services = NAME"]',
        )


def _nodes(database: Database, now: projects.RequestStatus, files_per_process: int) -> tuple[Node, ...]:
    """Return the nodes: every partition that is not committed, or as many groups as there may be."""
    partitions = projects.partitions(database, now.request)
    if not partitions:
        groups = -(-(now.available + now.held) // files_per_process)
        return tuple(Node(f"group-{number:04d}") for number in range(groups))
    from bookkeeper.dagman.left import partition_left

    found = []
    for number in range(partitions):
        left = partition_left(database, now.request, number)
        if left.committed + left.parked < left.files:
            found.append(Node(f"part-{number:04d}", number))
    return tuple(found)


def _retries(spec: Spec, max_attempts: int) -> int:
    """Return how often DAGMan may try a node: more than the policy lets happen, which is what decides."""
    most = sum(one.max_retries for one in policies_of(spec.policy()).values())
    return min(MOST_RETRIES, max_attempts + most + (0 if spec.job.partition_by else spec.rules().files_per_process))


def _write(spec: Spec, dag: Dag, into: Path, held_for: float, retries: int) -> None:
    """Write everything into a folder beside, and give it its name at the end."""
    part = into.with_name(f".{into.name}.{dag.id}")
    try:
        part.mkdir()
    except OSError as error:
        raise UsageError(f"{into} cannot be made: {error.strerror}", remedy="name another folder with --out") from error
    for node in dag.nodes:
        (part / "nodes" / node.name / "journals").mkdir(parents=True)
    asks = spec.executor.asks(spec.folder)
    if asks.transfer == "files":
        loaded = spec.load(spec.process(), part, None)
        words = loaded.with_ticket("ticket", "job.journal")
        travels = tuple(
            str(into / path.relative_to(part)) if path.is_relative_to(part) else str(path) for path in loaded.files
        )
    else:
        job = replace(spec.process(), executor="htcondor")
        write_text(part / "job.json", f"{job.as_json()}\n", 0o600)
        words = (
            sys.executable,
            "-P",
            "-m",
            "bookkeeper.worker",
            "--ticket",
            "ticket",
            "--journal",
            "journals",
            str(into / "job.json"),
        )
        travels = ()
    write_text(part / SUBMIT, description(dag, into, asks, words, travels, held_for))
    write_text(part / EMPTY, "universe = vanilla\nexecutable = /bin/true\nlog = final.log\nqueue\n")
    write_text(part / CONFIG, _config(spec.executor.jobs))
    write_text(part / "script", _script(), 0o755)
    write_text(part / f"{MAIN}.dag", dag_text(MAIN, into, dag, dag.nodes, retries))
    write_text(part / DAG_FILE, msgspec.json.format(msgspec.json.encode(dag), indent=1).decode() + "\n", 0o600)
    part.rename(into)


def dag_text(name: str, into: Path, dag: Dag, nodes: tuple[Node, ...], retries: int) -> str:
    """Return a DAG of these nodes. DAGMan's working folder is that of the DAG, so that no path is in it."""
    lines = [f"# of project {dag.project}, made by bookkeeper: see `bookkeeper dag status {shlex.quote(str(into))}`"]
    lines += [f"CONFIG {CONFIG}", f"JOBSTATE_LOG {name}.jobstate"]
    lines.append(" ".join(("NODE_STATUS_FILE", f"{name}.status", "1", "ALWAYS-UPDATE")))
    defer = f"SCRIPT DEFER {LATER} {max(1, round(dag.later))}"
    for one in nodes:
        node = one.name
        lines += [
            f"JOB {node} {SUBMIT}",
            f'VARS {node} node="{node}"',
            f"{defer} PRE {node} script pre {name} {node}",
            f"{defer} POST {node} script post {name} {node} $RETURN",
            f"PRE_SKIP {node} {SKIP}",
            f"RETRY {node} {retries} UNLESS-EXIT {NEVER}",
        ]
    lines += [f"FINAL final {EMPTY} NOOP", f"{defer} POST final script final {name} $DAG_STATUS"]
    return "\n".join(lines) + "\n"


def description(
    dag: Dag, into: Path, asks: Asks, words: tuple[str, ...], travels: tuple[str, ...], held_for: float
) -> str:
    """Return the submit description of every node."""
    said = {
        "universe": "vanilla",
        "executable": words[0],
        "transfer_executable": "False",
        "arguments": quoted(words[1:]),
        "initialdir": f"{escaped(str(into))}/nodes/$(node)",
        "output": "out.$(Cluster)",
        "error": "err.$(Cluster)",
        "log": "job.log",
        "environment": quoted(tuple(f"{key}={value}" for key, value in _environment(asks).items())),
        "notification": "Never",
        "My.BookkeeperDag": f'"{dag.id}"',
        "My.BookkeeperNode": '"$(node)"',
        "periodic_remove": f"JobStatus == 5 && HoldReasonCode =!= 1 && (HoldReasonCode =?= 12 || time() - EnteredCurrentStatus > {held_for:.0f})",
    }
    if asks.transfer == "files":
        said |= {
            "should_transfer_files": "YES",
            "when_to_transfer_output": "ON_EXIT",
            "transfer_input_files": ", ".join(["ticket", *map(escaped, travels)]),
            "transfer_output_files": "job.journal",
            "transfer_output_remaps": '"job.journal = journals/$(Cluster).journal"',
        }
    else:
        said["should_transfer_files"] = "NO"
    if asks.memory_mb:
        said["request_memory"] = f"{asks.memory_mb:.0f}"
    if asks.disk_mb:
        said["request_disk"] = f"{asks.disk_mb * 1024:.0f}"
    if asks.cpus:
        said["request_cpus"] = str(asks.cpus)
    if asks.run_time_s:
        said["My.MaxRuntime"] = f"{asks.run_time_s:.0f}"
    if asks.queue:
        said["My.JobFlavour"] = f'"{asks.queue}"'
    if asks.account:
        said["accounting_group"] = asks.account
    if asks.proxy:
        said[PROXY] = escaped(asks.proxy)
    if asks.container:
        said["container_image"] = escaped(asks.container)
    lines = [f"{key} = {value}" for key, value in said.items()]
    return "\n".join([*lines, *asks.extra, "queue"]) + "\n"


def _environment(asks: Asks) -> dict[str, str]:
    """Return what is set for jobs: they have no PATH of their own where nothing says one."""
    own = {"PATH": os.environ.get("PATH", os.defpath)} if asks.transfer == "shared" else {}
    return {**own, **asks.environment}


def escaped(text: str) -> str:
    """Return a text as a submit description takes it: no macro in it."""
    return text.replace("$(", "$(DOLLAR)(")


def quoted(words: tuple[str, ...]) -> str:
    """Return words as ``arguments`` and ``environment`` take them: each whole, whatever is in it."""
    parts = []
    for word in words:
        text = word.replace("'", "''") if re.search(r"[\s']", word) or not word else word
        parts.append(f"'{text}'" if re.search(r"[\s']", word) or not word else text)
    whole = " ".join(parts).replace('"', '""')
    return f'"{escaped(whole)}"'


def _config(jobs: int) -> str:
    return (
        f"DAGMAN_MAX_PRE_SCRIPTS = {SCRIPTS_AT_ONCE}\nDAGMAN_MAX_POST_SCRIPTS = {SCRIPTS_AT_ONCE}\n"
        f"DAGMAN_MAX_JOBS_SUBMITTED = {jobs}\nDAGMAN_USE_STRICT = 0\n"
    )


def _script() -> str:
    """Return what DAGMan starts: it finds this Python and this folder, whatever DAGMan's surroundings are."""
    return (
        "#!/bin/sh\n# written by bookkeeper: what DAGMan runs before and after the job of a node, and at the end\n"
        'kind=$1\nshift\nfolder=$(cd "$(dirname "$0")" && pwd) || exit 1\n'
        f'exec {shlex.quote(sys.executable)} -P -m bookkeeper.dagman "$kind" "$folder" "$@" 2>>"$folder/scripts.log"\n'
    )


def read_retries(into: Path) -> int:
    """Return how often a DAG was told to try its nodes."""
    found = re.search(r"^RETRY \S+ (\d+)", (into / f"{MAIN}.dag").read_text(encoding="utf-8"), re.MULTILINE)
    return int(found[1]) if found else 0


__all__ = ["dag_text", "description", "folders", "make", "quoted", "read_retries"]
