"""A real XRootD server for tests: in a folder and on a port of its own, to be stopped, killed and started again.

A second port speaks HTTP and WebDAV, with TLS and without.

Debian's ``xrootd-server``, installed where that is possible. It refuses to run as root, so it runs as the package's user.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
import trustme

from services import AT_END

CONFIGURATION = """\
oss.localroot {data}
all.export / r/w
xrd.port {port}
xrd.network nodnr norpipa
xrd.allow host localhost
all.adminpath {folder}/admin
all.pidpath {folder}/run
xrootd.chksum max 2 adler32
ofs.persist off
xrd.protocol http:{http} libXrdHttp.so
xrd.tls {folder}/server.pem {folder}/server.pem
xrd.tlsca noverify
"""

PROGRAMS = ("xrootd", "xrdadler32")


class XRootD:
    """A server of the folder ``data``, as ``url``, ``dav`` and ``davs``, which the CA in ``authority`` vouches for."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.data = folder, folder / "data"
        for one in (folder / "admin", folder / "run", self.data):
            one.mkdir(parents=True)
        with socket.socket() as free, socket.socket() as other:
            free.bind(("127.0.0.1", 0))
            other.bind(("127.0.0.1", 0))
            self.port, http = free.getsockname()[1], other.getsockname()[1]
        configuration = CONFIGURATION.format(data=self.data, port=self.port, http=http, folder=folder)
        (folder / "xrootd.cfg").write_text(configuration)
        authority = trustme.CA()
        authority.issue_cert("localhost", "127.0.0.1").private_key_and_cert_chain_pem.write_to_path(
            folder / "server.pem"
        )
        (folder / "server.pem").chmod(0o600)  # or the server refuses it
        self.authority = folder / "ca.pem"
        authority.cert_pem.write_to_path(self.authority)
        folder.chmod(0o755)
        for one in (folder, *folder.rglob("*")):
            shutil.chown(one, "xrootd", "xrootd")
        self.url = f"root://127.0.0.1:{self.port}/"
        self.dav, self.davs = f"dav://127.0.0.1:{http}", f"davs://localhost:{http}"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it, and wait until it listens."""
        log = self.folder / "xrootd.log"
        self._process = subprocess.Popen(
            ["xrootd", "-I", "v4", "-R", "xrootd", "-c", str(self.folder / "xrootd.cfg"), "-l", str(log), "-n", "test"],
            env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            cwd="/",
        )
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            assert self._process.poll() is None, "xrootd ended: " + _tail(self.folder)
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
        raise AssertionError("xrootd does not listen: " + _tail(self.folder))

    def kill(self) -> None:
        """Kill it: what it has not written is lost."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
        if self._process is not None:
            self._process.wait()

    def freeze(self) -> None:
        """Let it answer nobody any more."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        os.kill(self.pid, signal.SIGCONT)


def _tail(folder: Path) -> str:
    logs = list(folder.rglob("xrootd.log"))
    return logs[0].read_text(errors="replace")[-1500:] if logs else "no log"


@functools.cache
def shared() -> XRootD:
    """The server of the session."""
    return new()


def new() -> XRootD:
    """Start a server of its own; it is gone when the tests are over. Skips where there can be none."""
    if not all(map(shutil.which, PROGRAMS)):
        if os.geteuid() != 0:
            pytest.skip("privilege: XRootD is not installed, and only root can install it")
        _install()
    if os.geteuid() != 0:
        pytest.skip("privilege: only root can run XRootD as the user of its package")
    folder = Path(tempfile.mkdtemp(prefix="bookkeeper-xrootd-"))
    server = XRootD(folder)
    AT_END.callback(shutil.rmtree, folder, ignore_errors=True)
    AT_END.callback(server.kill)
    server.start()
    return server


def _install() -> None:
    install = ["apt-get", "-qq", "install", "-y", "--no-install-recommends", "xrootd-server", "xrootd-client"]
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    if subprocess.run(install, env=environment, capture_output=True, check=False).returncode:
        subprocess.run(["apt-get", "-qq", "update"], env=environment, capture_output=True, check=True)
        subprocess.run(install, env=environment, capture_output=True, check=True)
