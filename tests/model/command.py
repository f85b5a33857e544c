"""Run scenarios and print what they found, one line each; named ones with their counterexamples."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable

from .explore import Report, explore
from .isolation import GAMES, deadlocks, play
from .scenario import Run, Scenario
from .scenarios import EVERYTHING

ROW = "{:<22} {:<8} {:>9} {:>11} {:>6}  {} {}"


def main(arguments: list[str]) -> int:
    """The command; 1 if anything was not as it must be, 2 for an unknown name."""
    parser = argparse.ArgumentParser(prog="run.py", description="Explore the model of the transaction protocol.")
    parser.add_argument("name", nargs="*", help="scenarios to run, with their shortest counterexamples; default: all")
    parser.add_argument("--list", action="store_true", help="name the scenarios and say what they try")
    parser.add_argument("--small", action="store_true", help="only those that take a second or two")
    options = parser.parse_args(arguments)
    unknown = [name for name in options.name if name not in EVERYTHING]
    if unknown:
        parser.error(f"no scenario {', '.join(unknown)}; see --list")
    chosen = [EVERYTHING[name] for name in options.name] or list(EVERYTHING.values())
    if options.small:
        chosen = [scenario for scenario in chosen if scenario.small]
    if options.list:
        for scenario in chosen:
            print(f"{scenario.name:<22} {scenario.what}")
        return 0
    wrong = _run_all(chosen, traces=bool(options.name))
    if not options.name:
        wrong += _games()
    print(f"\n{wrong} of these are not as they must be." if wrong else "\nEverything is as it must be.")
    return 1 if wrong else 0


def _run_all(scenarios: Iterable[Scenario], *, traces: bool) -> int:
    print(ROW.format("scenario", "rule", "states", "edges", "s", " ", "found").rstrip())
    wrong = 0
    for scenario in scenarios:
        if traces:
            print(f"\n{scenario.name}: {scenario.what}")
        for run in scenario.runs:
            report = explore(run.rules, until=run.expects if run.stops else None)
            right = run.judge(report)
            wrong += not right
            size = f"{report.states:,}", f"{report.edges:,}", f"{report.seconds:.1f}"
            print(ROW.format(scenario.name, run.label, *size, _sign(right), _verdict(run, report)), flush=True)
            if traces:
                _print_traces(report)
    return wrong


def _verdict(run: Run, report: Report) -> str:
    if run.expects in report.found:
        return f"{run.expects} [{len(report.trace(run.expects))} steps]" if run.expects else ""
    if report.found:
        return f"VIOLATED: {'; '.join(report.found)}"
    if run.expects:
        return f"MISSED: {run.expects}"
    if not report.exhausted:
        return "NOT EXHAUSTED"
    return "holds" if report.completed else "NEVER COMPLETE"


def _print_traces(report: Report) -> None:
    for violation in report.found:
        print(f"\n    {violation}")
        for number, step in enumerate(report.trace(violation), start=1):
            print(f"    {number:>4}. {step}")
    if report.found:
        print()


def _games() -> int:
    print(f"\n{'attempts, isolation and parking':<52} {'positions':>9}  {'runs':>4}    bad ends")
    wrong = 0
    for what, game, bad_ends in GAMES:
        outcome = play(game)
        right = outcome.ends == bad_ends
        wrong += not right
        ends = ", ".join(sorted(outcome.ends)) or "none"
        print(f"{what:<52} {outcome.positions:>9}  {outcome.longest:>4}  {_sign(right)} {ends}")
    for waits in (False, True):
        count = deadlocks(waits_while_holding=waits)
        right = bool(count) == waits
        wrong += not right
        what = "a job that holds files waits for more" if waits else "a job that holds files commits on `none now`"
        print(f"{what:<52} {'':>9}  {'':>4}  {_sign(right)} {f'{count} deadlocks' if count else 'none'}")
    return wrong


def _sign(right: bool) -> str:
    sign, colour = ("✓", 32) if right else ("✗", 31)
    return f"\033[{colour}m{sign}\033[0m" if sys.stdout.isatty() else sign
