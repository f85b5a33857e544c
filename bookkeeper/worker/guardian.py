"""The parent of a command: ends it, and everything it started, when its worker is gone. Run as a program.

``python -I -S guardian.py LIFE STATUS SCRATCH WORD...`` with two inherited descriptors:

* LIFE is read. A byte is the number of a signal for the command's process group. Its end says that the worker is gone,
  however it died: the group is killed and the folder SCRATCH removed.
* STATUS is written, a line of JSON each: ``{"pid": …}`` once the command runs, or ``{"errno": …}`` where it cannot be
  executed; and at its end ``{"code": exit code or minus the signal, "peak_rss_kb": …, "cpu_s": …, "read_bytes": …,
  "written_bytes": …}``, in which the last two are null where the system does not count them.

Whatever the command leaves running in its group is killed when it ends: nobody else would. It has a session of its own,
so that nothing meant for the worker's group reaches it by another way, and the guardian has one, so that it outlives a
``kill -9`` of the worker's group. Only the standard library's lightest modules are imported: it costs milliseconds.
"""

import os
import select
import signal
import sys

DEFAULTS = ("SIGPIPE", "SIGXFSZ", "SIGXFZ")  # what Python ignores, and a command must not inherit


def main(words: list[str]) -> None:
    """Run the command of ``words`` (LIFE, STATUS, SCRATCH, and the command's) to its end."""
    life, status, scratch, command = int(words[0]), int(words[1]), words[2], words[3:]
    for descriptor in (life, status):
        os.set_inheritable(descriptor, False)
    ended, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    pid, failure = execute(command)
    if failure:
        say(status, f'{{"errno": {failure}}}')
        return
    say(status, f'{{"pid": {pid}}}')
    reaped = 0
    moved = "null", "null"
    while not reaped:
        ready, _, _ = select.select([life, ended], [], [])
        if ended in ready:
            os.read(ended, 512)
        if life in ready:
            orders = os.read(life, 64)
            for number in orders or (signal.SIGKILL,):
                signal_group(pid, number)
            if not orders:
                os.waitpid(pid, 0)
                remove(scratch)
                return
        moved = bytes_moved(pid) or moved  # also of one that ended, until it is waited for
        reaped, code, usage = os.wait4(pid, os.WNOHANG)
    signal_group(pid, signal.SIGKILL)
    scale = 1024 if sys.platform == "darwin" else 1  # bytes there, kilobytes elsewhere
    report = '{"code": %d, "peak_rss_kb": %d, "cpu_s": %.3f, "read_bytes": %s, "written_bytes": %s}'
    used = usage.ru_maxrss // scale, usage.ru_utime + usage.ru_stime
    say(status, report % (os.waitstatus_to_exitcode(code), *used, *moved))


def execute(command: list[str]) -> tuple[int, int]:
    """Start the command in a session of its own; return its process id and 0, or the errno of exec."""
    told, tell = os.pipe()  # closed by a successful exec
    pid = os.fork()
    if pid == 0:
        try:
            os.setsid()
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for name in DEFAULTS:
                if hasattr(signal, name):
                    signal.signal(getattr(signal, name), signal.SIG_DFL)
            os.execv(command[0], command)  # noqa: S606 - no shell, that is the point
        except OSError as error:
            os.write(tell, b"%d" % (error.errno or 1))
        finally:
            os._exit(127)
    os.close(tell)
    failure = os.read(told, 16)
    os.close(told)
    if failure:
        os.waitpid(pid, 0)
    return pid, int(failure or 0)


def signal_group(pid: int, number: int) -> None:
    """Send a signal to all that is left of the command's group."""
    try:
        os.killpg(pid, number)
    except (ProcessLookupError, PermissionError):  # macOS says the latter of a group of zombies
        return


def bytes_moved(pid: int) -> tuple[str, str] | None:
    """Return what a process, and the children it waited for, read and wrote by system calls, as numbers in words."""
    try:
        with open(f"/proc/{pid}/io") as counters:
            words = counters.read().split()
    except OSError:
        return None
    return (words[1], words[3]) if len(words) > 3 else None  # rchar: n, wchar: n


def say(status: int, line: str) -> None:
    """Tell the worker, if it still listens."""
    try:
        os.write(status, line.encode() + b"\n")
    except BrokenPipeError:
        return


def remove(scratch: str) -> None:
    """Remove the folder of a worker that can no longer do it."""
    import shutil

    shutil.rmtree(scratch, ignore_errors=True)


if __name__ == "__main__":
    main(sys.argv[1:])
