"""The command of the chaos run: copies the events of its inputs into two outputs, or fails as the plan says.

``python -I -S chaos_payload.py PLAN IDS COUNTS INPUT...``. The plan, ``PLAN/faults.json``, lists for each input file the
faults that it brings. Each happens once, to whichever process claims it first; a process suffers one. So a file counts
only after all of its faults have happened, and every run comes to an end.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time

NEVER = 600
PATIENCE = 5


def main(plan: str, ids: str, counts: str, inputs: list[str]) -> None:
    """Read the inputs, suffer at most one fault, write the outputs."""
    fault, name, delay = claim(plan, inputs)
    before(fault, plan)
    events = {path: read(path) for path in inputs}
    if fault in REPORTS:
        events = REPORTS[fault](events, name)
    if fault == "silent":
        return
    write(ids, [one for path in inputs if path in events for one in events[path]], torn=fault == "truncate")
    if fault == "half":
        return
    write(counts, {os.path.basename(path): len(found) for path, found in events.items()}, torn=False)
    after(fault, plan, delay)


def claim(plan: str, inputs: list[str]) -> tuple[str, str, float]:
    """Return the fault of this run ("" where there is none left), its file, and its delay in seconds."""
    with open(os.path.join(plan, "faults.json"), encoding="utf-8") as stream:
        faults = json.load(stream)
    for path in inputs:
        name = os.path.basename(path)
        for number, (kind, delay) in enumerate(faults.get(name, ())):
            try:
                os.close(os.open(os.path.join(plan, "happened", f"{name}.{number}.{kind}"), os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                continue
            return kind, name, delay
    return "", "", 0.0


def read(path: str) -> list[str]:
    """Return the events of a file, one per line."""
    with open(path, encoding="utf-8") as stream:
        return stream.read().split()


def write(path: str, content: object, *, torn: bool) -> None:
    """Write an output as JSON; ``torn``: without its last third."""
    text = json.dumps(content)
    with open(path, "w", encoding="utf-8") as stream:
        stream.write(text[: len(text) * 2 // 3] if torn else text)


# -- faults that end or stop something -----------------------------------------------------------------------------


def before(fault: str, plan: str) -> None:
    """Suffer the faults that come before the work."""
    if fault == "segfault":
        os.kill(os.getpid(), signal.SIGSEGV)
    elif fault == "exit":
        sys.exit("the calibration is missing")
    elif fault == "hang":
        time.sleep(NEVER)  # the heart of its worker goes on beating: only max_wall ends it
    elif fault == "stop-payload":
        os.kill(os.getpid(), signal.SIGSTOP)
    elif fault == "kill-worker":
        os.killpg(os.getpgid(worker()), signal.SIGKILL)
        time.sleep(NEVER)
    elif fault == "kill-guardian":
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(NEVER)
    elif fault == "terminate-worker":
        os.kill(worker(), signal.SIGTERM)
    elif fault == "interrupt-worker":
        os.kill(worker(), signal.SIGINT)
    elif fault == "freeze-worker":
        freeze(worker(), plan)


def after(fault: str, plan: str, delay: float) -> None:
    """Suffer the faults that come when the outputs are written: something strikes the worker as it goes on."""
    how, _, when = fault.partition("-")
    if when not in ("late", "uploading", "publishing"):
        return
    target = worker()
    if os.fork():
        return
    os.setsid()
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nothing, descriptor)
    if when == "late":
        time.sleep(delay)
    elif not appears(os.path.dirname(plan), os.environ["BOOKKEEPER_PROCESS_ID"], when):
        return
    if how == "kill":
        os.killpg(target, signal.SIGKILL)
    elif how == "terminate":
        os.kill(target, signal.SIGTERM)
    else:
        freeze(target, plan)


def appears(folder: str, process: str, when: str) -> bool:
    """Wait for the upload of the last output, which the commit follows, or for the first of the final names."""
    deadline = time.monotonic() + PATIENCE
    uploads, final = os.path.join(folder, "counts", ".bookkeeper"), os.path.join(folder, "out", f"ids-{process}.json")
    while time.monotonic() < deadline:
        if when == "publishing" and os.path.exists(final):
            return True
        names = os.listdir(uploads) if when == "uploading" and os.path.isdir(uploads) else ()
        if any(name.startswith(f"{process}-") for name in names):
            return True
        time.sleep(0.0005)
    return False


def freeze(pid: int, plan: str) -> None:
    """Stop a worker; whoever runs the chaos lets it go on, when its lease may be over."""
    with open(os.path.join(plan, "frozen", str(pid)), "w", encoding="utf-8"):
        pass
    os.kill(pid, signal.SIGSTOP)


def worker() -> int:
    """Return the process id of the worker: the parent of our guardian."""
    guardian = os.getppid()
    try:
        with open(f"/proc/{guardian}/stat", encoding="utf-8") as stream:
            return int(stream.read().rpartition(")")[2].split()[1])
    except FileNotFoundError:
        with os.popen(f"ps -o ppid= -p {guardian}") as stream:
            return int(stream.read())


# -- faults of the report ------------------------------------------------------------------------------------------


def say(*lines: object) -> None:
    """Append to the report."""
    with open(os.environ["BOOKKEEPER_REPORT"], "a", encoding="utf-8") as stream:
        stream.write("".join(line if isinstance(line, str) else json.dumps(line) + "\n" for line in lines))


def all_consumed(events: dict[str, list[str]], but: str = "") -> list[object]:
    """Return a true report of all files but one."""
    return [
        {"file": path, "state": "consumed", "entries": len(found)}
        for path, found in events.items()
        if os.path.basename(path) != but
    ]


def left_out(state: str):
    """Return the honest report that one file is not in the output, which then lacks it."""

    def report(events: dict[str, list[str]], name: str) -> dict[str, list[str]]:
        say(*all_consumed(events, but=name), {"file": name, "state": state, "reason": "2 baskets unreadable"})
        return {path: found for path, found in events.items() if os.path.basename(path) != name}

    return report


def unreported(events: dict[str, list[str]], name: str) -> dict[str, list[str]]:
    """Say nothing of a file that is left out: it does not count."""
    say(*all_consumed(events, but=name), {"file": name, "state": "opened"})
    return {path: found for path, found in events.items() if os.path.basename(path) != name}


def wrongly(*lines: object):
    """Return a report that nobody may believe."""

    def report(events: dict[str, list[str]], name: str) -> dict[str, list[str]]:
        say(*all_consumed(events, but=name), *[json.loads(json.dumps(one).replace("NAME", name)) for one in lines])
        return events

    return report


REPORTS = {
    "skip": left_out("skipped"),
    "fail": left_out("failed"),
    "unreported": unreported,
    "miscount": wrongly({"file": "NAME", "state": "consumed", "entries": 999_999}),
    "stranger": wrongly({"file": "of-nobody.txt", "state": "consumed"}),
    "nonsense": wrongly("no JSON at all\n"),
    "torn": wrongly('{"file": "NAME", "sta'),
}


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4:])
