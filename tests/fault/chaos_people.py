"""Who is at work in a chaos run: operators as processes of their own, workers, and the monkey that strikes them."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from chaos_scene import LEASE, PROJECT, Scene

COMMAND = "import sys; from bookkeeper_cli.main import main; sys.exit(main(sys.argv[1:]))"

KILLED_AT_START = "workers in a row could not start: killed by signal 9"

Words = list[str]


@dataclass
class Operator:
    """Somebody who types a command now and then. ``ends`` are the exit codes that it may have, besides death."""

    name: str
    scene: Scene
    type: Callable[[random.Random], Words | None]
    pause: tuple[float, float]
    ends: tuple[int, ...] = (0,)
    process: subprocess.Popen[bytes] | None = None
    due: float = 0.0
    typed: int = 0
    odd: list[str] = field(default_factory=list)
    interrupted: bool = False

    def __post_init__(self) -> None:
        self.choose = random.Random(f"{self.name} {self.scene.seed}")
        self.due = time.monotonic() + self.choose.uniform(0, self.pause[1])

    @property
    def log(self) -> Path:
        """What all its commands printed."""
        return self.scene.folder / "operators" / f"{self.name}.log"

    def turn(self, *, may_type: bool) -> None:
        """Take in the end of a command, or type the next when it is time."""
        if self.process is not None:
            if self.process.poll() is None:
                return
            self._ended(self.process.returncode)
        if may_type and time.monotonic() >= self.due and (words := self.type(self.choose)):
            self._start(words)

    def _start(self, words: Words) -> None:
        self.typed += 1
        environment = {**os.environ, "TMPDIR": str(self.scene.path("scratch")), "BOOKKEEPER_CATALOG": self.scene.url}
        with self.log.open("ab") as log:
            log.write(f"$ bookkeeper {' '.join(words)}\n".encode())
            log.flush()
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-c", COMMAND, *words],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.scene.folder,
                env=environment,
                start_new_session=True,
            )

    def _ended(self, code: int) -> None:
        assert self.process is not None
        words, self.process = self.process.args[4:], None  # type: ignore[index]
        with self.log.open("a") as log:
            log.write(f"[exit {code}]\n")
        self.due = time.monotonic() + self.choose.uniform(*self.pause)
        died = code < 0 or code > 128 or self.interrupted  # Python itself, while it starts, may end with 1 then
        self.interrupted = False
        if code == 1 and words[0] == "submit" and KILLED_AT_START in self.log.read_text()[-400:]:
            return  # it gives up where one worker after the other does not start: the monkey's work
        if code not in self.ends and not died:
            self.odd.append(f"`bookkeeper {' '.join(words)}` exited {code}: see {self.log}")


def operators(scene: Scene, committed: Callable[[], list[int]]) -> list[Operator]:
    """Return everybody. Two submit, and two recover, without knowing of each other."""

    def reopen(choose: random.Random) -> Words | None:
        known = committed()
        if len(known) < 3:
            return None
        return ["project", "reopen", PROJECT, str(choose.choice(known)), "--reason", "its disk died"]

    def recover(choose: random.Random) -> Words:
        return ["recover", PROJECT] + (["--fence"] if choose.random() < 0.2 else [])

    def say(*words: str) -> Callable[[random.Random], Words]:
        return lambda choose: list(words)

    submit = say("submit", str(scene.spec))
    return [
        Operator("submit-1", scene, submit, (0.2, 0.8), (0, 5, 10, 11)),
        Operator("submit-2", scene, submit, (0.5, 3.0), (0, 5, 10, 11)),
        Operator("recover-1", scene, recover, (0.5, 3.0), (0, 3)),
        Operator("recover-2", scene, recover, (1.0, 6.0), (0, 3)),
        Operator("check", scene, say("check", "--repair"), (0.5, 3.0)),
        Operator("unpark", scene, say("project", "unpark", PROJECT, "--all"), (1.0, 4.0), (0, 3)),
        Operator("resume", scene, say("project", "resume", PROJECT), (1.0, 4.0), (0, 3, 5)),
        Operator("pause", scene, say("project", "pause", PROJECT, "--reason", "lunch"), (4.0, 12.0), (0, 3, 5)),
        Operator("reopen", scene, reopen, (4.0, 10.0), (0, 5, 9)),
        Operator("status", scene, say("status", PROJECT, "--json"), (1.0, 4.0), (0, 3)),
    ]


class Monkey:
    """Strikes workers and operators at random instants; lets frozen ones go on when their lease may be over."""

    def __init__(self, scene: Scene, everybody: list[Operator], strikes: int) -> None:
        self._scene, self._everybody, self._left = scene, everybody, strikes
        self._choose = random.Random(f"monkey {scene.seed}")
        self._due = time.monotonic() + 1.0
        self._frozen: dict[int, float] = {}
        self.struck: Counter[str] = Counter()

    def turn(self, *, may_strike: bool) -> None:
        """Strike if it is time; let go on whom it is time for."""
        now = time.monotonic()
        for mark in self._scene.path("plan/frozen").iterdir():
            mark.unlink()
            self._frozen.setdefault(int(mark.name), now + self._choose.uniform(0.2, 2.5) * LEASE)
        for pid in [pid for pid, until in self._frozen.items() if now >= until or not may_strike]:
            del self._frozen[pid]
            _send(pid, signal.SIGCONT)
        if may_strike and self._left and now >= self._due:
            self._due = now + self._choose.uniform(0.1, 0.7)
            self._strike(now)

    def _strike(self, now: float) -> None:
        what = self._choose.choices(
            ["kill a worker", "freeze a worker", "kill an operator", "freeze an operator", "interrupt an operator"],
            weights=[6, 3, 5, 2, 2],
        )[0]
        if "worker" in what:
            found = [one.pid for one in workers(self._scene)]
        else:
            found = [one.process.pid for one in self._everybody if one.process is not None]
        if not found:
            return
        pid = self._choose.choice(found)
        if "kill" in what:
            with suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
        elif "freeze" in what:
            self._frozen[pid] = now + self._choose.uniform(0.2, 2.0) * LEASE
            _send(pid, signal.SIGSTOP)
        else:
            _send(pid, signal.SIGINT)
            for one in self._everybody:
                one.interrupted |= one.process is not None and one.process.pid == pid
        self._left -= 1
        self.struck[what] += 1


def workers(scene: Scene) -> list[psutil.Process]:
    """Return the workers of this scene that run, whoever started them."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            words = process.cmdline()
            if "bookkeeper.worker" in words and scene.url in words and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def _send(pid: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)
