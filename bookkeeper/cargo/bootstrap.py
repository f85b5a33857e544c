"""The first thing that runs of a worker that travelled: unpack it into a private folder, and start it there.

This file is ``__main__.py`` of the zip archive that `bookkeeper.cargo.kit` makes, and has only the standard library.
Compiled modules cannot be imported from an archive. The folder has the form, and the lock, of a worker's scratch
folder (`bookkeeper.worker.scratch`): it is removed at the end, and after a kill by the next worker on this node.
"""

import fcntl
import json
import os
import platform
import runpy
import shutil
import sys
import tempfile
import zipfile


def main() -> None:
    """Run ``bookkeeper.worker`` out of the archive that this file is in, with the words of the command line."""
    archive = os.path.abspath(os.path.dirname(__file__))  # noqa: PTH100, PTH120 - it costs less
    with zipfile.ZipFile(archive) as members:
        made = json.loads(members.read("kit.json"))
        here = [sys.version_info[0], sys.version_info[1], sys.platform, platform.machine()]
        if here != made["for"]:
            told = "CPython {}.{} on {} {}"
            complain(f"this worker was made for {told.format(*made['for'])}, and here is {told.format(*here)}", 2)
        try:
            folder = locked_folder()
            members.extractall(folder)
        except (OSError, zipfile.BadZipFile, EOFError) as error:
            complain(f"the worker cannot be unpacked on this node: {error}", 9)
    sys.path[0] = f"{folder}/site"
    sys.argv[0] = "bookkeeper-worker"
    os.environ["BOOKKEEPER_STATE_HOME"] = folder
    sys.dont_write_bytecode = True
    try:
        runpy.run_module("bookkeeper.worker", run_name="__main__", alter_sys=False)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def locked_folder() -> str:
    """Make a folder that only this user may enter, locked as long as this process lives."""
    while True:
        folder = tempfile.mkdtemp(prefix="bookkeeper-scratch-")
        try:
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if os.stat(folder).st_ino == os.fstat(descriptor).st_ino:  # noqa: PTH116 - it costs less
                return folder
        except FileNotFoundError:  # another worker took it for one that was left, before it was locked
            continue


def complain(problem: str, code: int) -> None:
    """Say what is wrong, and end."""
    where = f"{sys.executable} on {platform.node()}"
    sys.stderr.write(f"{problem} ({where})\n$BOOKKEEPER_PYTHON names the interpreter to be used on nodes\n")
    sys.exit(code)


if __name__ == "__main__":
    main()
