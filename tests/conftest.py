"""What all tests share: a clean environment, calm Hypothesis, and no silent skips under CI."""

from __future__ import annotations

import contextlib
import gc
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from bookkeeper.catalog import create
from ledgers import new_catalog
from services import AT_END, postgres
from services.reach import Reach, served
from toys import make_zmumu

# Under CI everything must run. These are the only beginnings of a reason that excuse a skip there:
# what the machine's kind or the rights of the user forbid, never what somebody forgot to install.
EXCUSED = ("platform:", "privilege:")

# Files that take half a minute or more, longest first: begun last, one of them would keep everybody waiting at the end.
LONG = (
    "test_server_kills", "test_slurm", "test_postgres_statements", "test_ledger_statements", "test_ledger_failures",
    "test_object_store_kills", "test_dagman", "test_journal_kills", "test_first_submit", "test_submit", "test_copying",
    "test_ledger_commit", "test_pool_htcondor", "test_security", "test_ledger_start", "test_ledger_machine",
    "test_ledger_leases", "test_htcondor_credentials", "test_watching_real", "test_demo", "test_ledger_isolation",
    "test_postgres_kills", "test_ledger_kills", "test_fuzzing", "test_plugins", "test_work", "test_cut_off", "test_chaos",
    "test_rates", "test_near_htcondor", "test_cargo", "test_pages", "test_watching", "test_dask", "test_recover_sizes",
    "test_network_faults", "test_stageout_faults", "test_journals", "recover", "test_cli_bad_input",
)  # fmt: skip

settings.register_profile("bookkeeper", deadline=None)  # the machine may be busy; speed is measured by `make bench`
settings.load_profile("bookkeeper")

_unexcused: dict[str, str] = {}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let what takes longest come first."""
    place = {name: number for number, name in enumerate(LONG)}
    items.sort(key=lambda item: place.get(item.path.stem, len(LONG)))


def pytest_collection_finish() -> None:
    """What was collected stays to the end: the garbage collector need not look at it again and again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _no_inherited_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """A catalog or process named in the developer's shell never leaks into a test."""
    for name in [name for name in os.environ if name.startswith("BOOKKEEPER_")]:
        monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def _no_files_of_the_user(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """The developer's own token is not found, and nothing is left in the developer's home."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.getbasetemp() / "config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path_factory.getbasetemp() / "state"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(autouse=True, scope="module")
def _no_catalogs_of_earlier_modules() -> Iterator[None]:
    """What a module made on the server that the tests share goes with the module."""
    yield
    if postgres.shared.cache_info().currsize:
        postgres.shared().drop()


@pytest.fixture(params=["on this host", "behind a server"])
def reach(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Reach]:
    """Let commands reach a catalog, in both ways: ``reach(path)`` makes it where there is none; return its address."""
    with contextlib.ExitStack() as stack:

        def reached(path: Path) -> str:
            made = create(f"sqlite:///{path}") if path.exists() else new_catalog(path).database
            database = stack.enter_context(contextlib.closing(made))
            if request.param == "behind a server":
                url = stack.enter_context(served(database))
            else:
                url = database.url
            monkeypatch.setenv("BOOKKEEPER_CATALOG", url)
            return url

        yield reached


@pytest.fixture(scope="session")
def zmumu_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with six small Z→μμ ROOT files of 500 events each; shared, so read only."""
    folder = tmp_path_factory.mktemp("zmumu")
    make_zmumu(folder)
    return folder


def _note_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    if report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        reason = reason.removeprefix("Skipped: ")
        if not reason.startswith(EXCUSED):
            _unexcused[report.nodeid] = reason


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    _note_skip(report)


def pytest_collectreport(report: pytest.CollectReport) -> None:
    _note_skip(report)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    AT_END.close()
    if _unexcused and os.environ.get("CI") and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _unexcused and os.environ.get("CI"):
        terminalreporter.section("skipped, which CI does not allow", red=True)
        for nodeid, reason in _unexcused.items():
            terminalreporter.line(f"{nodeid}: {reason}")
