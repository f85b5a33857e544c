"""What a recovery will need, by what the committed processes of its request needed: one pass over its history."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any, Final

from bookkeeper.catalog import Database
from bookkeeper.estimates.asking import Ask, ask_for
from bookkeeper.estimates.sizing import over, percentile
from bookkeeper.operations import operation

RULES: Final = """
SELECT r.name AS request, r.files_per_process, r.partition_by
  FROM requests r WHERE r.id = (SELECT request_id FROM projects WHERE name = :project)
"""

LEFT: Final = """
SELECT l.attempts, l.solo, COUNT(*) AS files, COUNT(DISTINCT l.partition_number) AS partitions,
       SUM(CASE WHEN v.file_id IS NULL THEN f.size ELSE v.size END) AS bytes,
       SUM(CASE WHEN v.file_id IS NULL THEN f.entries ELSE v.entries END) AS entries,
       COUNT(CASE WHEN v.file_id IS NULL THEN f.entries ELSE v.entries END) AS counted
  FROM ledger l JOIN files f ON f.id = l.file_id
  LEFT JOIN file_versions v ON v.file_id = l.file_id AND v.version = l.version
 WHERE l.request_id = (SELECT request_id FROM projects WHERE name = :project) AND l.state = 'available'
 GROUP BY l.attempts, l.solo ORDER BY l.attempts, l.solo
"""

PARTITIONS: Final = """
SELECT COUNT(DISTINCT l.partition_number) AS partitions FROM ledger l
 WHERE l.request_id = (SELECT request_id FROM projects WHERE name = :project) AND l.state = 'available'
"""

RAN: Final = """
SELECT p.ended_at - p.started_at AS wall_s,
       CAST(e.body ->> 'cpu_s' AS DOUBLE PRECISION) AS cpu_s,
       CAST(e.body ->> 'read_bytes' AS BIGINT) AS read_bytes,
       CAST(e.body ->> 'entries' AS BIGINT) AS entries,
       COALESCE(CAST(e.body ->> 'input_bytes' AS BIGINT),
                (SELECT SUM(f.size) FROM deliveries d JOIN files f ON f.id = d.file_id
                  WHERE d.process_id = p.id AND d.state = 'consumed')) AS bytes
  FROM processes p
  LEFT JOIN events e ON e.id = (SELECT MAX(n.id) FROM events n
                                 WHERE n.process_id = p.id AND n.kind = 'perf.recorded')
 WHERE p.request_id = (SELECT request_id FROM projects WHERE name = :project) AND p.state = 'committed'
"""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number with its evidence in words. ``value`` is None where nothing is known of it.

    ``high`` is what it would be if everything took as long as the p95; ``samples`` are the processes it rests on.
    """

    value: float | None
    evidence: str
    high: float | None = None
    samples: int = 0


@dataclass(frozen=True, slots=True)
class Forecast:
    """What processing the available files of a request will need. Times are seconds, memory MB of 2^20 bytes.

    ``elapsed_s`` is with ``jobs`` at a time; ``job_memory_mb`` and ``job_wall_s`` are those of one job, and ``ask`` is
    what it will ask for.
    """

    request: str
    files: int
    jobs: int
    processes: Estimate
    read_bytes: Estimate
    cpu_s: Estimate
    wall_s: Estimate
    elapsed_s: Estimate
    job_memory_mb: Estimate
    job_wall_s: Estimate
    ask: Ask

    def as_dict(self) -> dict[str, Any]:
        """Return the forecast for JSON."""
        asked = {"memory_mb": self.ask.memory_mb, "wall_s": self.ask.wall_s, "evidence": self.ask.evidence}
        return {**asdict(self), "ask": asked}


@dataclass(frozen=True, slots=True)
class Work:
    """So much work: ``bytes`` of input, and ``entries`` where those of every file are known."""

    bytes: int
    entries: int | None = None


@dataclass(frozen=True, slots=True)
class Ran:
    """What a committed process took: seconds, of CPU where it was measured, for so much work."""

    wall_s: float
    cpu_s: float | None
    work: Work
    read_bytes: int | None = None


@operation("read")
def forecast(
    database: Database,
    project: str,
    *,
    jobs: int = 1,
    memory_mb: float | None = None,
    max_memory_mb: float | None = None,
) -> Forecast:
    """Return what a recovery of the project's request will need; changes nothing. Raises `NotFound`.

    ``jobs`` run at a time; ``memory_mb`` and ``max_memory_mb`` are what the spec says of their memory.
    """
    rules = database.one(RULES, {"project": project})
    if rules is None:
        from bookkeeper import projects

        raise projects.unknown(database, project)
    groups = database.rows(LEFT, {"project": project})
    files = sum(group["files"] for group in groups)
    work = Work(
        sum(group["bytes"] for group in groups),
        sum(group["entries"] for group in groups) if all(one["counted"] == one["files"] for one in groups) else None,
    )
    history = [
        Ran(max(0.0, row["wall_s"]), row["cpu_s"], Work(row["bytes"] or 0, row["entries"]), row["read_bytes"])
        for row in database.rows(RAN, {"project": project})
    ]
    if rules["partition_by"] is not None:
        row = database.one(PARTITIONS, {"project": project})
        processes = Estimate(row["partitions"] if row else 0, "one for each partition")
    else:
        processes = _processes(groups, rules["files_per_process"])
    ask = ask_for(database, project, memory_mb=memory_mb, max_memory_mb=max_memory_mb)
    wall = scaled("wall time", [(one.wall_s, one.work) for one in history], work)
    job = _per_job(wall, int(processes.value or 0))
    needed = ask.memory.needed if ask.memory_mb is None else ask.memory_mb
    return Forecast(
        request=rules["request"],
        files=files,
        jobs=jobs,
        processes=processes,
        read_bytes=_reading(files, work, history),
        cpu_s=scaled("CPU", [(one.cpu_s, one.work) for one in history if one.cpu_s is not None], work),
        wall_s=wall,
        elapsed_s=_elapsed(wall, job, jobs),
        job_memory_mb=Estimate(needed, ask.memory.evidence),
        job_wall_s=job,
        ask=ask,
    )


def scaled(what: str, took: Sequence[tuple[float, Work]], work: Work) -> Estimate:
    """Return the seconds that so much work will take: by the median of what others took for each of theirs.

    By entries, where those of every file and of every process are known, else by the bytes of the input. What read
    nothing says nothing.
    """
    by_entries = work.entries is not None and all(done.entries for _, done in took)
    if by_entries:
        rates = [seconds / (done.entries or 1) for seconds, done in took]
        size, unit, per = float(work.entries or 0), "million entries", 1e6
    else:
        rates = [seconds / done.bytes for seconds, done in took if done.bytes]
        size, unit, per = float(work.bytes), "GB", 1e9
    if not rates:
        return Estimate(None, f"no history of {what}: unknown")
    middle, high = median(rates), percentile(rates, 0.95)
    evidence = f"median {_digits(middle * per)} s {what} per {unit} {over(len(rates))}"
    return Estimate(middle * size, evidence, high=max(middle, high) * size, samples=len(rates))


def _processes(groups: Sequence[dict[str, Any]], most: int) -> Estimate:
    """Return how many processes take the files: those that failed before have fewer companions."""
    count, again = 0, 0
    for group in groups:
        together = 1 if group["solo"] else max(1, -(-most // 2 ** min(group["attempts"], 62)))
        count += -(-group["files"] // together)
        again += group["files"] if together < most else 0
    fewer = f"; {again:,} that failed before in smaller groups" if again else ""
    return Estimate(count, f"up to {most:,} file{'' if most == 1 else 's'} each{fewer}")


def _reading(files: int, work: Work, history: Sequence[Ran]) -> Estimate:
    """Return the size of the input; how much of theirs others really read is told."""
    shares = [one.read_bytes / one.work.bytes for one in history if one.read_bytes is not None and one.work.bytes]
    evidence = f"the size of {files:,} file{'' if files == 1 else 's'}"
    if shares:
        evidence += f"; others read {_digits(median(shares))} times the size of theirs (median {over(len(shares))})"
    return Estimate(work.bytes, evidence, samples=len(shares))


def _per_job(whole: Estimate, processes: int) -> Estimate:
    if whole.value is None or not processes:
        return Estimate(None, whole.evidence)
    high = (whole.high or whole.value) / processes
    return Estimate(whole.value / processes, "wall time / processes", high, whole.samples)


def _elapsed(whole: Estimate, job: Estimate, jobs: int) -> Estimate:
    """Return how long it takes with so many jobs at a time; no shorter than one job."""
    with_ = f"with {jobs:,} job{'' if jobs == 1 else 's'} at a time"
    if whole.value is None or job.value is None:
        return Estimate(None, f"{with_}: unknown")
    high = max((whole.high or 0.0) / jobs, job.high or 0.0)
    return Estimate(max(whole.value / jobs, job.value), with_, high, whole.samples)


def _digits(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
