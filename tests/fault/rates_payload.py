"""The command of the rates run: reads its files, each for a time, and suffers what the plan has for it.

``python -I -S rates_payload.py PLAN OUTPUT INPUT...``. What is wrong, in this order: the node is the black hole; the
version that is installed has the bug; a file is corrupt; its turn among processes, or that of one of its files among
deliveries, brings a fault. Turns are only taken where nothing before is wrong. What happens is kept in
``PLAN/journal/<process>.json`` right before. A process that goes well writes the names of its inputs as JSON.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time

NEVER = 600

TRANSIENT = (
    "Error in <TNetXNGFile::Open>: [ERROR] Operation expired",
    "Error in <TNetXNGFile::ReadBuffers>: [FATAL] Socket timeout",
    "OSError: XRootD error: [ERROR] Operation expired\nin file root://eospublic.cern.ch//eos/opendata/{name}",
    "cat: /eos/experiment/store/{name}: Connection timed out",
    "ERROR : gfal-copy error: 110 (Connection timed out) - globus_xio: System error in connect: Connection timed out",
    "TimeoutError: [Errno 110] Connection timed out",
)
"""What is printed where a read fails that would have gone well a moment later."""

CORRUPT = (
    "Error in <TFile::Init>: file {path} is truncated at 1043 bytes: should be 178971, trying to recover",
    "Error in <TFile::ReadBuffer>: error reading all requested bytes from file {path}, got 216 of 1132",
    "R__unzip: error -5 in inflate (zlib)\nError in <TBranch::GetBasket>: File: {path} at byte:12345, branch:Muon_pt, "
    "entry:100, badread=0, nerrors=1, basketnumber=3",
    "uproot.deserialization.DeserializationError: while reading\n\n    TBasket version None\n\n"
    "attempting to get bytes 0:1043\noutside expected range 0:512 for this Chunk\nin file {path}\nin object /Events;1",
    "ValueError: not a ROOT file: first four bytes are b'\\x00\\x00\\x00\\x00'\nin file {path}",
)
"""What ROOT and uproot say of a file that is damaged."""

BLACK_HOLE = (
    ("/cvmfs/sft.cern.ch/lcg/views/LCG_104/setup.sh: Transport endpoint is not connected", 1),
    ("/bin/sh: 1: cmsRun: not found", 127),
)
"""What is printed on the node that is broken, and the exit code."""


class Payload:
    """One run of the command."""

    def __init__(self, plan: str, output: str, inputs: list[str]) -> None:
        self.folder, self.output, self.inputs = plan, output, inputs
        self.plan = json.loads(self.read("plan.json"))
        self.process = os.environ["BOOKKEEPER_PROCESS_ID"]
        self.choose = random.Random(f"{self.plan['seed']} process {self.process}")

    def run(self) -> None:
        """Do what is to be done, or fail as planned."""
        if os.environ["RATES_NODE"] == self.plan["black_hole"]:
            said, code = BLACK_HOLE[self.plan["seed"] % len(BLACK_HOLE)]
            self.fail("black hole", said, code)
        if self.read("version") == self.plan["bad_version"]:
            self.meet_the_bug()
        bad = next((path for path in self.inputs if self.named(path) in self.plan["corrupt"]), None)
        if bad is not None:
            self.meet(bad)
        kind = self.take_turn("processes")
        whole = len(self.inputs) * self.plan["file_seconds"]
        if kind == "restart":
            time.sleep(self.choose.uniform(0, whole))
            self.keep(kind)
            os.killpg(os.getpgid(worker()), signal.SIGKILL)
            time.sleep(NEVER)
        if kind == "stage-out":
            self.keep(kind)  # the storage looks there
        else:
            self.read_over_the_network()
        time.sleep(whole)
        with open(self.output, "w", encoding="utf-8") as stream:
            json.dump([self.named(path) for path in self.inputs], stream)

    def read_over_the_network(self) -> None:
        """Take the turns of all deliveries; fail in the first file whose turn brings that."""
        taken = [self.take_turn("deliveries") for _ in self.inputs]
        if "transient" not in taken:
            return
        number = taken.index("transient")
        time.sleep((number + self.choose.random()) * self.plan["file_seconds"])
        said = self.choose.choice(TRANSIENT).format(name=self.named(self.inputs[number]))
        self.fail("transient", said, 1)

    def meet(self, bad: str) -> None:
        """Read up to the place in a file where it is corrupt."""
        place, wording = self.plan["corrupt"][self.named(bad)]
        time.sleep((self.inputs.index(bad) + place) * self.plan["file_seconds"])
        self.fail("corrupt", CORRUPT[wording].format(path=bad), 1, file=self.named(bad))

    def meet_the_bug(self) -> None:
        """Select events as the bad version does."""
        time.sleep(self.plan["bug_seconds"])
        self.keep("bug")
        leading_muon = None
        print(leading_muon.pt)

    def take_turn(self, of: str) -> str:
        """Return what the next turn that nobody took brings, among processes or deliveries; "" where it is nothing."""
        for turn, kind in enumerate(self.plan["turns"][of]):
            try:
                os.close(os.open(os.path.join(self.folder, of, str(turn)), os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                continue
            return kind
        return ""

    def fail(self, kind: str, said: str, code: int, **more: str) -> None:
        """Keep what happens, say it as the program would, and exit."""
        self.keep(kind, said=said.splitlines()[-1], **more)
        print(said, file=sys.stderr)
        sys.exit(code)

    def keep(self, kind: str, **more: str) -> None:
        """Write into the journal what happens to this process now; the time is in epoch seconds."""
        path = os.path.join(self.folder, "journal", f"{self.process}.json")
        with open(path, "w", encoding="utf-8") as stream:
            json.dump({"kind": kind, "at": time.time(), **more}, stream)

    def read(self, name: str) -> str:
        """Return a file of the plan."""
        with open(os.path.join(self.folder, name), encoding="utf-8") as stream:
            return stream.read()

    @staticmethod
    def named(path: str) -> str:
        """Return the logical name of an input."""
        return os.path.basename(path)


def worker() -> int:
    """Return the process id of the worker: the parent of our guardian."""
    with os.popen(f"ps -o ppid= -p {os.getppid()}") as stream:
        return int(stream.read())


if __name__ == "__main__":
    Payload(sys.argv[1], sys.argv[2], sys.argv[3:]).run()
