"""An access point: questions to its schedd, and orders to it, in our words where it does not answer."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Final, TypeVar

from bookkeeper.errors import ExecutorUnavailable, UsageError
from bookkeeper.executors.htcondor.options import Options
from bookkeeper.executors.htcondor.telling import words

ASKED: Final = [
    "ClusterId", "ProcId", "JobStatus", "HoldReason", "HoldReasonCode", "HoldReasonSubCode", "RemoteHost", "ExitCode",
    "ExitSignal", "ExitBySignal", "RemoveReason", "EnteredCurrentStatus", "NumShadowStarts", "JobMaterializeNextProcId",
    "TotalSubmitProcs", "StageInFinish",
]  # fmt: skip

CHUNK: Final = 500
"""Jobs named in one order."""

REFUSED: Final = "Failed to create job ad"
"""How the bindings begin to say that a description is wrong; they say so before anything is in the queue."""

T = TypeVar("T")


class AccessPoint:
    """One schedd: this host's, or the one that the options name."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._found: Any = None

    def submit(self, text: str, count: int) -> int:
        """Hand over a cluster, in one transaction of the schedd, and its files where they are spooled; return its number.

        Raises `UsageError` where the description is refused. Not repeated: whoever asks again looks for it first.
        """
        htcondor2 = bindings()
        try:
            schedd = self._schedd()
            made = schedd.submit(htcondor2.Submit(text), count=count, spool=self._options.spool)
            if self._options.spool:
                schedd.spool(made)
        except (htcondor2.HTCondorException, RuntimeError, OSError, ValueError, IndexError) as error:
            self._found = None
            said = words(error)
            if said.startswith(REFUSED) or isinstance(error, ValueError):
                why = said.removeprefix(REFUSED).lstrip(", ").removeprefix("errmsg=").removeprefix("Submit:-1:")
                remedy = "correct [executor], its extra lines above all; `submit --dry-run` writes the description"
                raise UsageError(
                    f"HTCondor refuses these jobs: {why or 'it does not say why'}", remedy=remedy
                ) from error
            raise unavailable(said) from error
        return int(made.cluster())

    def queue(self, question: str) -> list[dict[str, Any]]:
        """Return the ads in the queue for which this is true, those of clusters that make their jobs bit by bit among them."""
        opts = bindings().QueryOpt.IncludeClusterAd
        return self._ask(lambda schedd: _plain(schedd.query(question, ASKED, opts=opts)))

    def history(self, question: str, most: int) -> list[dict[str, Any]]:
        """Return the ads of jobs that left the queue, the youngest first, ``most`` of them."""
        return self._ask(lambda schedd: _plain(schedd.history(question, ASKED, match=most)))

    def whole(self, jobs: Sequence[str]) -> list[Any]:
        """Return the ads of jobs (batch ids) in the queue, with all that is in them."""
        named = [one.partition(".") for one in jobs]
        question = " || ".join(f"(ClusterId == {cluster} && ProcId == {number})" for cluster, _, number in named)
        return self._ask(lambda schedd: list(schedd.query(question))) if named else []

    def slots(self, question: str) -> int:
        """Return for how many slots of the pool this is true; those that a job was carved out of another are none."""
        htcondor2 = bindings()
        try:
            ads = self._collector().query(
                htcondor2.AdType.Startd, f'(SlotType =!= "Dynamic") && ({question})', ["Name"]
            )
        except (htcondor2.HTCondorException, RuntimeError, OSError) as error:
            raise unavailable(words(error)) from error
        return len(ads)

    def act(self, action: str, jobs: Sequence[str], reason: str) -> int:
        """Do something to jobs; return how many of them the queue does not have.

        Raises `UsageError` where somebody else's are among them. A reason goes as (text, code): 25.14 drops a plain text.
        """
        kind = getattr(bindings().JobAction, action)
        missing = 0
        for begin in range(0, len(jobs), CHUNK):
            chunk = list(jobs[begin : begin + CHUNK])
            done = self._ask(lambda schedd, chunk=chunk: schedd.act(kind, chunk, reason=(reason, 0)))  # type: ignore[misc]
            if done is not None:
                missing += int(done["TotalNotFound"])
                if int(done["TotalPermissionDenied"]):
                    raise UsageError(f"jobs {', '.join(chunk[:3])}, … are not yours to {action.lower()}")
        return missing

    def retrieve(self, job: str) -> None:
        """Bring what a spooled job left into the folder from which it was submitted."""
        self._ask(lambda schedd: schedd.retrieve([job]))

    def renew_proxy(self, job: str, proxy: str) -> None:
        """Give a job a newer proxy."""
        cluster, _, number = job.partition(".")
        self._ask(lambda schedd: schedd.refreshGSIProxy(int(cluster), int(number), proxy, -1))

    def close(self) -> None:
        """Forget where it is."""
        self._found = None

    def _ask(self, question: Callable[[Any], T]) -> T:
        """Ask; once more where a schedd that was started anew has another address or knows the session no more."""
        htcondor2 = bindings()
        for last in (False, True):
            try:
                return question(self._schedd())
            except (htcondor2.HTCondorException, RuntimeError, OSError) as error:
                self._found = None
                if last:
                    raise unavailable(words(error)) from error
        raise AssertionError("unreachable")

    def _schedd(self) -> Any:
        if self._found is None:
            htcondor2 = bindings()
            if self._options.schedd is None and self._options.pool is None:
                self._found = htcondor2.Schedd()
            else:
                found = self._collector().locate(htcondor2.DaemonType.Schedd, self._options.schedd)
                if found is None:  # the bindings would take it for this host's
                    raise unavailable(f"the collector knows no access point {self._options.schedd or ''}".rstrip())
                self._found = htcondor2.Schedd(found)
        return self._found

    def _collector(self) -> Any:
        htcondor2 = bindings()
        return htcondor2.Collector(self._options.pool) if self._options.pool else htcondor2.Collector()


def _plain(ads: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return what is defined of what was asked for."""
    from classad2 import Value

    return [{name: ad[name] for name in ASKED if name in ad and not isinstance(ad[name], Value)} for ad in ads]


def among(clusters: Collection[int]) -> str:
    """Return the question for all jobs of some clusters."""
    return " || ".join(f"ClusterId == {cluster}" for cluster in sorted(clusters))


def unavailable(said: str) -> ExecutorUnavailable:
    """Return what is raised where the schedd does not answer."""
    remedy = (
        "see whether `condor_q` works here: HTCondor runs, $CONDOR_CONFIG leads to it, or [executor.htcondor] names"
        " another access point (schedd, pool); nothing is lost, and the same command goes on"
    )
    return ExecutorUnavailable(f"HTCondor does not answer: {said}", remedy=remedy)


def bindings() -> Any:
    """Return the module. Raises `UsageError` where it is not installed."""
    try:
        import htcondor2
    except ImportError as error:
        remedy = "pip install 'sam-bookkeeper[htcondor]'"
        raise UsageError("HTCondor's Python bindings are not installed", remedy=remedy) from error
    return htcondor2
