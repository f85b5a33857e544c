"""What must be true after a chaos run: found by reading what was published, not by asking who published it."""

from __future__ import annotations

import json
import re
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from chaos_scene import PROJECT, Scene

from bookkeeper.api import Catalog
from bookkeeper.check import check
from bookkeeper.worker.scratch import scratch_folder

_INTERRUPTED = re.compile(r"^Traceback \(most recent call last\):\n(?:(?: .*)?\n)*KeyboardInterrupt:?$", re.MULTILINE)
"""What Python prints where it is interrupted while it starts, before any program can listen."""

KEYS = {"ids": "out", "counts": "counts"}


def wrong(scene: Scene, catalog: Catalog) -> list[str]:
    """Return everything that is not as it must be, in words."""
    return [*_events(scene, catalog), *_totals(scene, catalog), *_soundness(catalog), *_faults(scene), *_traces(scene)]


def _events(scene: Scene, catalog: Catalog) -> Iterator[str]:
    """Each event exactly once in what is published, and nothing else to be seen."""
    outputs = catalog.project(PROJECT).outputs()
    read: dict[str, Counter[str]] = {key: Counter() for key in KEYS}
    for output in outputs:
        try:
            content = json.loads(Path(output["url"]).read_text())
        except (OSError, ValueError) as error:
            yield f"{output['url']} cannot be read: {error}"
            continue
        if output["key"] == "ids":
            read["ids"].update(content)
        else:
            read["counts"].update(content.keys())
            for name, count in content.items():
                if count != len(scene.events[name]):
                    yield f"{output['url']} counts {count} events of {name}, it has {len(scene.events[name])}"
    wanted = {"ids": [one for events in scene.events.values() for one in events], "counts": list(scene.events)}
    for key, names in wanted.items():
        missing = [one for one in names if not read[key][one]]
        twice = [one for one, times in read[key].items() if times > 1]
        strange = read[key].keys() - set(names)
        for problem, found in (("LOST", missing), ("DUPLICATED", twice), ("INVENTED", sorted(strange))):
            if found:
                yield f"{problem} in {key}: {len(found)}, for example {', '.join(found[:5])}"
    for key, folder in KEYS.items():
        listed = {str(path) for path in scene.path(folder).iterdir() if path.name != ".bookkeeper"}
        known = {output["url"] for output in outputs if output["key"] == key}
        if listed != known:
            yield f"{folder}: to be seen and not published {listed - known}, published and not there {known - listed}"
        uploads = [str(path) for path in scene.path(folder).glob(".bookkeeper/*/*")]
        if uploads:
            yield f"{folder}: left under temporary names: {uploads}"


def _totals(scene: Scene, catalog: Catalog) -> Iterator[str]:
    """The numbers of every view agree with what was put in."""
    files = len(scene.events)
    status = catalog.project(PROJECT).status()
    if not status.complete:
        yield f"not complete: {status}"
    queries = {
        "rows of consumption that are committed": "SELECT count(*) AS n FROM consumption WHERE committed = 1",
        "files of consumption that are committed": "SELECT count(DISTINCT file) AS n FROM consumption WHERE committed = 1",
        "sum of project_summary.committed": "SELECT sum(committed) AS n FROM project_summary",
        "sum of requests.committed": "SELECT sum(committed) AS n FROM requests",
        "files of lineage": "SELECT count(DISTINCT file) AS n FROM lineage WHERE output_state = 'published'",
    }
    for what, query in queries.items():
        if (found := catalog.sql(query)[0]["n"]) != files:
            yield f"{what}: {found}, and there are {files} files"
    if catalog.project(PROJECT).uncommitted():
        yield "complete, and something is uncommitted"
    live = catalog.sql("SELECT id, state FROM processes WHERE state IN ('active', 'staged', 'revoking')")
    if live:
        yield f"complete, and processes are live: {live}"


def _soundness(catalog: Catalog) -> Iterator[str]:
    """`check` has nothing to say, not even a note."""
    for finding in check(catalog.database, checksum=True, full=True):
        yield f"check: {finding.severity}: {finding.message}"


def _faults(scene: Scene) -> Iterator[str]:
    """Most of what was to happen did: of several in a process, a harmless one may be the last before it commits."""
    planned = sum(len(kinds) for kinds in scene.faults.values())
    happened = sum(1 for _ in scene.path("plan/happened").iterdir())
    if happened < planned / 2:
        yield f"only {happened} of {planned} faults happened: this run proves little"


def _traces(scene: Scene) -> Iterator[str]:
    """Nobody saw a traceback or a bug of ours, and no scratch folder is left."""
    logs = [*scene.path("operators").glob("*.log"), *scene.path("catalog.db.d/logs").glob("worker-*")]
    for log in logs:
        text = _INTERRUPTED.sub("", log.read_text(errors="replace"))
        for word in ("Traceback", "internal error", "violation"):
            if word in text:
                yield f"{word} in {log}"
    tempfile.tempdir = str(scene.path("scratch"))
    with scratch_folder():  # the next worker, which removes what killed ones left
        tempfile.tempdir = None
    left = [path.name for path in scene.path("scratch").glob("bookkeeper-scratch-*")]
    if left:
        yield f"scratch folders are left: {left}"
