"""Whatever breaks, and whenever: no final object is ever partial or replaced, and the next call goes on.

Steps are broken where they meet the operating system: the n-th system call of ours fails, or the process is killed
(SIGKILL) before it. The broken process is a fork of a single-threaded helper, for each n of the whole step.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from bookkeeper.errors import StorageError
from bookkeeper.stageout import claim, exists, final_url, publish, require_claim, stage_out, temporaries, temporary_url
from workbench import kill, to_its_end

pytestmark = pytest.mark.fault

HELPER = '''
import concurrent.futures.thread, ctypes, errno, os, queue, random, resource, shutil, signal, sys, zlib
from bookkeeper.errors import BookkeeperError
from bookkeeper.stageout import *
from bookkeeper.stageout import local

ROOT = sys.argv[1]
CALLS = "open write readv fsync close link unlink mkdir rmdir replace fstat lstat listdir".split()
real = {name: getattr(os, name) for name in CALLS}

class Broken(Exception):
    pass

def break_call(n, how):
    """Let the n-th call from now on fail as `how` says, once; return the counter."""
    count = [0]
    def wrap(name):
        def call(*arguments, **options):
            count[0] += 1
            if count[0] == n:
                count.append(name)
                if how == "kill":
                    real_kill(os.getpid(), signal.SIGKILL)
                if isinstance(how, int):
                    if name == "close":
                        real["close"](*arguments)
                    raise OSError(how, os.strerror(how))
            return real[name](*arguments, **options)
        return call
    for name in CALLS:
        setattr(os, name, wrap(name))
    return count

real_kill = os.kill
SIZE = 300_000
DATA = bytes(random.Random(1).randbytes(SIZE))
SUM = f"adler32:{zlib.adler32(DATA):08x}"
SOURCE = ROOT + "/payload.bin"
with open(SOURCE, "wb") as stream:
    stream.write(DATA)

class Round:
    """A fresh destination, and the steps from the payload to the published object."""
    def __init__(self, number):
        self.out = f"{ROOT}/out-{number}"
        self.temporary = temporary_url(self.out, 7, "nonce", 0, "a.root")
        self.final = final_url(self.out, "a.root")
    def claim(self):
        claim(self.out, "mine")
    def stage(self, n=0):
        return stage_out(SOURCE, temporary_url(self.out, 7, "nonce", n, "a.root"), expected_checksum=SUM)
    def publish(self):
        return publish(self.temporary, self.final, size=SIZE, checksum=SUM)
    def sound(self):
        """The final object is absent or whole; what else is there has a temporary name."""
        if exists(self.final):
            assert open(self.final, "rb").read() == DATA, "the final object is partial"
        names = [n for n in os.listdir(self.out) if n not in ("a.root", ".bookkeeper")] if exists(self.out) else []
        assert not names, names
    def finish(self):
        """Another process goes on from whatever is left."""
        claim(self.out, "mine")
        if not exists(self.final):
            if not exists(self.temporary) or object_size(self.temporary) != SIZE:
                discard(self.temporary)
                self.stage()
        else:
            self.sound()
        assert self.publish() in ("published", "already")
        assert open(self.final, "rb").read() == DATA
        assert list(temporaries(self.out)) == [], "a temporary is left"
        tidy(self.out, older_than=-10)
        assert os.listdir(self.out + "/.bookkeeper") == ["claim"], os.listdir(self.out + "/.bookkeeper")
        shutil.rmtree(self.out)

def child(action):
    """Run the action in a fork; return its exit status, negative for a signal."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            status = action() or 0
        except BaseException:
            import traceback
            traceback.print_exc()
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
'''


def run_helper(script: str, folder: Path, *arguments: str, prefix: tuple[str, ...] = ()) -> str:
    """Run a script after the helper in a fresh interpreter, and return what it printed; it must exit 0."""
    done = subprocess.run(
        [*prefix, sys.executable, "-c", HELPER + textwrap.dedent(script), str(folder), *arguments],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:] + done.stdout[-1000:]
    return done.stdout


def test_killed_before_every_system_call_the_next_process_goes_on(tmp_path: Path) -> None:
    printed = run_helper(
        """
        for step in ("claim", "stage", "publish"):
            n = 0
            while True:
                n += 1
                r = Round(f"{step}-{n}")
                if step != "claim":
                    r.claim()
                if step == "publish":
                    r.stage()
                status = child(lambda: (break_call(n, "kill"), getattr(r, step)(), 0)[2])
                r.sound()
                r.finish()
                if status == 0:
                    break
                assert status == -signal.SIGKILL, status
            print(step, n)
        """,
        tmp_path,
    )
    counts = {step: int(n) for step, n in (line.split() for line in printed.splitlines())}
    assert counts["claim"] > 10 and counts["stage"] > 20 and counts["publish"] > 8, "the calls were not all reached"


@pytest.mark.parametrize("number", ["EIO", "ENOSPC", "EDQUOT", "EACCES", "EROFS", "ESTALE"])
def test_when_any_system_call_fails_the_error_is_clear_and_nothing_is_half_published(
    tmp_path: Path, number: str
) -> None:
    printed = run_helper(
        f"""
        NOT_REACHED, REFUSED, BORNE = 0, 3, 4
        def broken(r, step, n):
            count = break_call(n, errno.{number})
            try:
                getattr(r, step)()
            except BookkeeperError as error:
                assert error.remedy and (r.out in str(error) or SOURCE in str(error)), error
                return REFUSED
            if len(count) == 1:
                return NOT_REACHED
            # close: of a file that was only read. link: then a rename serves.
            assert count[1] in ("close", "link"), f"{{step}} went on although its call {{n}}, {{count[1]}}, failed"
            return BORNE
        for step in ("claim", "stage", "publish"):
            n, status = 0, REFUSED
            while status != NOT_REACHED:
                n += 1
                r = Round(f"{{step}}-{{n}}")
                if step != "claim":
                    r.claim()
                if step == "publish":
                    r.stage()
                status = child(lambda: broken(r, step, n))
                assert status in (NOT_REACHED, REFUSED, BORNE), (step, n, status)
                r.sound()
                r.finish()
            print(step, n)
        """,
        tmp_path,
    )
    assert len(printed.splitlines()) == 3


def test_killed_at_random_instants_the_next_process_goes_on(tmp_path: Path) -> None:
    """Also inside system calls and in the writer's thread."""
    run_helper(
        """
        import time
        generator = random.Random(20260101)
        outcomes = {}
        for number in range(250):
            r = Round(number)
            r.claim()
            def work():
                r.stage()
                r.publish()
            pid = os.fork()
            if pid == 0:
                try:
                    work()
                finally:
                    os._exit(0)
            instant = time.perf_counter() + generator.random() * 0.012
            while time.perf_counter() < instant:
                pass
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            state = (exists(r.final), exists(r.temporary))
            outcomes[state] = outcomes.get(state, 0) + 1
            r.sound()
            r.finish()
        print(outcomes)
        assert len(outcomes) >= 2, outcomes
        """,
        tmp_path,
    )


def test_two_publishers_at_once_both_end_well(tmp_path: Path) -> None:
    run_helper(
        """
        for number in range(60):
            r = Round(number)
            r.claim()
            r.stage()
            gate = os.pipe()
            pids = []
            for _ in range(3):
                pid = os.fork()
                if pid == 0:
                    status = 1
                    try:
                        os.close(gate[1])
                        os.read(gate[0], 1)
                        status = {"published": 10, "already": 11}[r.publish()]
                    finally:
                        os._exit(status)
                pids.append(pid)
            os.close(gate[0])
            os.close(gate[1])
            answers = sorted(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids)
            assert answers in ([10, 11, 11], [11, 11, 11]), answers
            r.finish()
        """,
        tmp_path,
    )


def test_two_outputs_that_want_one_name_one_is_published_and_the_other_told(tmp_path: Path) -> None:
    claim(tmp_path / "out", "mine")
    final = final_url(tmp_path / "out", "a.root")
    staged = []
    for n in range(2):
        (tmp_path / "payload").write_bytes(b"%d" % n * 1000)
        staged.append(stage_out(tmp_path / "payload", temporary_url(tmp_path / "out", 7, "nonce", n, "a.root")))
    code = (
        "import sys; from bookkeeper.stageout import publish\n"
        "publish(sys.argv[1], sys.argv[2], size=int(sys.argv[3]), checksum=sys.argv[4])"
    )
    running = [
        subprocess.Popen(
            [sys.executable, "-c", code, one.url, final, str(one.size), one.checksum],
            stderr=subprocess.PIPE,
            text=True,
        )
        for one in staged
    ]
    try:
        told = [to_its_end(process)[1] for process in running]
    finally:
        for process in running:
            kill(process)
    codes = [process.returncode for process in running]
    assert sorted(codes) == [0, 1]
    assert "PublicationConflict" in told[codes.index(1)]
    assert Path(final).read_bytes() == b"%d" % codes.index(0) * 1000
    assert [t.n for t in temporaries(tmp_path / "out")] == [codes.index(1)]


def test_a_file_larger_than_the_limit_is_refused_and_nothing_is_left(tmp_path: Path) -> None:
    claim(tmp_path / "out", "mine")
    (tmp_path / "payload").write_bytes(os.urandom(6_000_000))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5_000_000, before[1]))
    try:
        with pytest.raises(StorageError, match="larger than is allowed") as raised:
            stage_out(tmp_path / "payload", temporary_url(tmp_path / "out", 7, "nonce", 0, "a.root"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert str(tmp_path / "out") in str(raised.value) and "ulimit" in raised.value.remedy
    assert list(temporaries(tmp_path / "out")) == []


def namespace() -> tuple[str, ...]:
    """How to run a command that may mount; skips where that is forbidden, except under CI."""
    for prefix in (("unshare", "--mount"), ("unshare", "--map-root-user", "--mount")):
        if (
            shutil.which("unshare")
            and subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode == 0
        ):
            return prefix
    if os.environ.get("CI"):
        pytest.fail("this test mounts a small disk and must run under CI")
    pytest.skip("privilege: mounting is not allowed here")


MOUNTS = """
        import subprocess
        disk = ROOT + "/disk"
        os.mkdir(disk)
        def mount(*arguments):
            subprocess.run(["mount", *arguments], check=True)
        def refused(action, words):
            try:
                action()
            except BookkeeperError as error:
                assert words in str(error) and disk in str(error) and error.remedy, error
            else:
                raise AssertionError("it was not refused")
"""


def test_a_full_disk_is_named_and_nothing_is_left(tmp_path: Path) -> None:
    run_helper(
        MOUNTS
        + """
        mount("-t", "tmpfs", "-o", "size=1m", "tmpfs", disk)
        out = disk + "/out"
        claim(out, "mine")
        for n in range(4):
            try:
                stage_out(SOURCE, temporary_url(out, 7, "nonce", n, "a.root"))
            except BookkeeperError as error:
                assert n == 3 and "disk is full" in str(error) and out in str(error) and "free space" in error.remedy, error
        assert [t.n for t in temporaries(out)] == [0, 1, 2]
        discard(temporary_url(out, 7, "nonce", 0, "a.root"))
        stage_out(SOURCE, temporary_url(out, 7, "nonce", 4, "a.root"))
        with open(out + "/filler", "wb", buffering=0) as stream:
            try:
                while True:
                    stream.write(bytes(4096))
            except OSError:
                pass
        refused(lambda: claim(disk + "/second", "mine"), "disk is full")
        assert publish(temporary_url(out, 7, "nonce", 4, "a.root"), out + "/a.root", size=SIZE, checksum=SUM) == "published"
        assert open(out + "/a.root", "rb").read() == DATA
        """,
        tmp_path,
        prefix=namespace(),
    )


def test_a_read_only_file_system_is_named(tmp_path: Path) -> None:
    run_helper(
        MOUNTS
        + """
        mount("-t", "tmpfs", "-o", "size=4m", "tmpfs", disk)
        r = Round("x")
        r.out = disk + "/out"
        r.temporary, r.final = temporary_url(r.out, 7, "nonce", 0, "a.root"), final_url(r.out, "a.root")
        r.claim()
        r.stage()
        mount("-o", "remount,ro", disk)
        r.claim()
        refused(lambda: claim(disk + "/second", "mine"), "read-only")
        refused(lambda: claim(r.out, "others", adopt=True), "read-only")
        refused(lambda: r.stage(1), "read-only")
        refused(r.publish, "read-only")
        refused(lambda: discard(r.temporary), "read-only")
        mount("-o", "remount,rw", disk)
        r.finish()
        """,
        tmp_path,
        prefix=namespace(),
    )


def test_a_disk_that_is_unmounted_is_not_taken_for_an_empty_destination(tmp_path: Path) -> None:
    run_helper(
        MOUNTS
        + """
        mount("-t", "tmpfs", "-o", "size=4m", "tmpfs", disk)
        r = Round("x")
        r.out = disk
        r.temporary, r.final = temporary_url(r.out, 7, "nonce", 0, "a.root"), final_url(r.out, "a.root")
        r.claim()
        r.stage()
        subprocess.run(["umount", "--lazy", disk], check=True)
        for action in (lambda: require_claim(disk, "mine"), r.stage, r.publish, lambda: discard(r.temporary),
                       lambda: remove_final(r.final, checksum=SUM)):
            refused(action, "vanished")
        assert os.listdir(disk) == []
        """,
        tmp_path,
        prefix=namespace(),
    )


def test_a_destination_that_this_user_may_not_write_is_named(tmp_path: Path) -> None:
    """As root the test becomes nobody first, for whom permissions hold."""
    for path in (tmp_path, *tmp_path.parents):
        if path.is_relative_to("/tmp") and path != Path("/tmp") and os.geteuid() == 0:
            path.chmod(0o755)
    (tmp_path / "work").mkdir()
    (tmp_path / "work").chmod(0o777)
    run_helper(
        """
        if os.geteuid() == 0:
            os.chmod(SOURCE, 0o644)
            os.setgid(65534)
            os.setuid(65534)
        ROOT += "/own"
        os.mkdir(ROOT)
        r = Round("x")
        r.claim()
        r.stage()
        def refused(action, path):
            try:
                action()
            except BookkeeperError as error:
                assert "permission is denied" in str(error) and path in str(error) and error.remedy, error
            else:
                raise AssertionError("it was not refused")
        os.chmod(r.out, 0o555)
        refused(r.publish, r.final)
        os.chmod(r.out, 0o755)
        os.chmod(r.out + "/.bookkeeper", 0o555)
        refused(lambda: r.stage(1), r.out)
        refused(lambda: claim(r.out, "others", adopt=True), r.out)
        os.chmod(r.out + "/.bookkeeper", 0o755)
        os.chmod(ROOT, 0o555)
        refused(lambda: claim(ROOT + "/second", "mine"), ROOT + "/second")
        os.chmod(ROOT, 0o755)
        r.finish()
        """,
        tmp_path / "work",
    )


def test_a_destination_removed_after_the_claim_fails_clearly(tmp_path: Path) -> None:
    claim(tmp_path / "out", "mine")
    (tmp_path / "payload").write_bytes(os.urandom(5_000_000))

    def vanish(done: int, total: int) -> None:
        shutil.rmtree(tmp_path / "out", ignore_errors=True)

    with pytest.raises(StorageError, match="vanished") as raised:
        stage_out(tmp_path / "payload", temporary_url(tmp_path / "out", 7, "nonce", 0, "a.root"), on_progress=vanish)
    assert str(tmp_path / "out") in str(raised.value)
    assert not exists(tmp_path / "out")
    with pytest.raises(StorageError, match="vanished"):
        require_claim(tmp_path / "out", "mine")
    with pytest.raises(StorageError, match="vanished"):
        publish(
            temporary_url(tmp_path / "out", 7, "nonce", 0, "a.root"),
            final_url(tmp_path / "out", "a.root"),
            size=5_000_000,
            checksum="adler32:00000001",
        )
