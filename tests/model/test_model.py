"""The protocol holds in every small world, and the model notices when a rule is missing."""

from __future__ import annotations

from functools import cache

import pytest

from model import invariants as inv
from model import liveness as live
from model.command import main
from model.explore import explore
from model.isolation import ENDLESS, GAMES, INNOCENT, Game, deadlocks, play
from model.rules import Rules, initial
from model.scenario import Run, Scenario
from model.scenarios import EVERYTHING
from model.state import Content, Request, State, Store
from model.verbs import commit, next_files, start

SMALL = [scenario for scenario in EVERYTHING.values() if scenario.small]
HOLDING = [(scenario, run) for scenario in SMALL for run in scenario.runs if run.expects is None]
FAILING = [(scenario, run) for scenario in SMALL for run in scenario.runs if run.expects is not None]


def _named(pairs: list[tuple[Scenario, Run]]) -> list[str]:
    return [f"{scenario.name}-{run.label}" for scenario, run in pairs]


@cache
def _explored(rules: Rules) -> tuple[bool, frozenset[str], int]:
    """What a whole search says; some scenarios come to the same rules."""
    report = explore(rules)
    return report.exhausted, frozenset(report.found), report.completed


@pytest.mark.parametrize(("scenario", "run"), HOLDING, ids=_named(HOLDING))
def test_every_state_is_sound_and_can_be_completed(scenario: Scenario, run: Run) -> None:
    exhausted, found, completed = _explored(run.rules)
    assert exhausted
    assert not found
    assert completed, "a protocol in which nothing is ever finished is safe for the wrong reason"


@pytest.mark.parametrize(("scenario", "run"), FAILING, ids=_named(FAILING))
def test_a_missing_rule_is_noticed(scenario: Scenario, run: Run) -> None:
    report = explore(run.rules, until=run.expects)
    assert run.expects in report.found
    assert report.trace(run.expects or "")


def test_every_invariant_is_shown_to_fail_by_some_scenario() -> None:
    """An invariant that nothing can violate proves nothing."""
    expected = {run.expects for scenario in EVERYTHING.values() for run in scenario.runs if run.expects}
    assert {violation.split()[0] for violation in expected} == {"I1", "I2", "I3", "I4", "I5", "I6", "I7", "L"}


def test_a_trace_is_a_shortest_way_to_the_violation() -> None:
    """The classic: the commit was executed, its answer lost, and the worker cleaned up as if it had failed."""
    (without, _) = EVERYTHING["giveup"].runs
    report = explore(without.rules)
    steps = report.trace(inv.OUTPUT_LOST)
    assert len(steps) == 9
    assert steps[-2:] == ["job0 commit (answer lost)", "job0 gives up on the commit and deletes its temporary"]


def test_a_search_that_was_cut_is_not_taken_for_a_proof() -> None:
    run = EVERYTHING["giveup"].runs[1]
    report = explore(run.rules, limit=100)
    assert not report.exhausted
    assert not run.judge(report)


def _committed(rules: Rules, files: int, *, whole: bool = True) -> State:
    """One process that committed the files, and published an object with them."""
    state = initial(rules)
    request = Request("start", 0, "job0")
    catalog, _ = start(rules, state.catalog, request)
    catalog, _ = next_files(rules, catalog, request)
    catalog, _ = commit(rules, catalog, request._replace(files=files, temporary="t"))
    return state.with_catalog(catalog).with_store(final=(("out-0", Content(0, 0, files, whole)),))


def test_a_reader_is_told_the_truth_or_the_invariants_complain() -> None:
    rules = Rules()
    good = _committed(rules, 0b11)
    assert not list(inv.violations(rules, good.catalog, good.store))
    truncated = _committed(rules, 0b11, whole=False)
    assert inv.TRUNCATED in inv.violations(rules, truncated.catalog, truncated.store)
    other = _committed(rules, 0b01)
    more = Store((), (("out-0", Content(0, 0, 0b11, True)),))
    assert inv.OTHER_BYTES in inv.violations(rules, other.catalog, more)
    lost = Store((), ())
    assert list(inv.violations(rules, good.catalog, lost)) == [inv.OUTPUT_LOST]
    assert live.unfinished(rules.with_room(), good.catalog, lost) == live.UNPUBLISHED


@pytest.mark.parametrize(("what", "game", "bad_ends"), GAMES, ids=[what for what, _, _ in GAMES])
def test_isolation_games_end_as_they_must(what: str, game: Game, bad_ends: frozenset[str]) -> None:
    assert play(game).ends == bad_ends


@pytest.mark.parametrize("group", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("failures", [0, 1, 2])
def test_no_innocent_file_is_parked_with_fewer_node_failures_than_attempts(group: int, failures: int) -> None:
    for poison in (frozenset[int](), frozenset({0}), frozenset({1, 3})):
        ends = play(Game(files=5, group=group, poison=poison, node_failures=failures)).ends
        assert INNOCENT not in ends
        assert ENDLESS not in ends


def test_a_poison_file_is_found_in_logarithmically_many_processes() -> None:
    """Halving: 100 files, one of them poison, are done after log2(100) splits, their rest, and three tries alone."""
    assert play(Game(files=100, group=100, endless_after=40)).longest <= 20


@pytest.mark.parametrize(("jobs", "files"), [(2, 2), (2, 3), (3, 3)])
def test_only_waiting_while_holding_can_deadlock(jobs: int, files: int) -> None:
    assert deadlocks(waits_while_holding=False, jobs=jobs, files=files) == 0
    assert deadlocks(waits_while_holding=True, jobs=jobs, files=files) > 0


def test_the_command_prints_a_counterexample(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["race-start"]) == 0
    printed = capsys.readouterr().out
    assert "1. job0 start_process: its transaction reads that the project is open" in printed
    assert "Everything is as it must be." in printed


def test_the_command_fails_when_a_scenario_does_not_do_what_it_must(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rotten = Scenario("rotten", "a rule is missing", (Run("with", EVERYTHING["race-start"].runs[0].rules),))
    blind = Scenario("blind", "nothing is missing", (Run("without", Rules(processes=1, jobs=1), inv.STUCK),))
    monkeypatch.setitem(EVERYTHING, "rotten", rotten)
    monkeypatch.setitem(EVERYTHING, "blind", blind)
    assert main(["rotten", "blind"]) == 1
    printed = capsys.readouterr().out
    assert f"VIOLATED: {inv.LIVE_IN_FENCED}" in printed
    assert f"MISSED: {inv.STUCK}" in printed


def test_an_unknown_scenario_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["partition-tempp"])
    assert stopped.value.code == 2
    assert "partition-tempp" in capsys.readouterr().err
