"""A real S3 server for tests, on loopback and in a process of its own: moto's, which keeps its buckets in memory.

It heeds ``If-None-Match`` where S3 did from the start: at an upload, and at the completion of one in parts.
"""

from __future__ import annotations

import contextlib
import functools
import http.client
import subprocess
import sys
import time

import pytest

from services import AT_END

PROGRAM = """
import signal
from moto.server import ThreadedMotoServer

server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
signal.pause()
"""


class S3:
    """A server; what its clients need to know is in ``environment``."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", PROGRAM],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())
        self.environment = {
            "FSSPEC_S3_ENDPOINT_URL": f"http://127.0.0.1:{self.port}",
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing-secret",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        deadline = time.monotonic() + 30
        while True:
            with contextlib.suppress(OSError):
                connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
                connection.request("GET", "/moto-api/")
                connection.getresponse()
                return
            assert time.monotonic() < deadline, "moto does not answer"

    def bucket(self, name: str) -> str:
        """Make a bucket, once the process can `use` the server; its URL."""
        import fsspec

        fsspec.filesystem("s3").mkdir(name)
        return f"s3://{name}"

    def kill(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()


@functools.cache
def shared() -> S3:
    """The server of the session."""
    server = S3()
    AT_END.callback(server.kill)
    return server


def use(monkeypatch: pytest.MonkeyPatch) -> S3:
    """Let this process and its children reach the server, as fsspec and the driver are told of a storage."""
    import fsspec

    server = shared()
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    # Children learn it from the environment when they import fsspec; this process has imported it.
    monkeypatch.setitem(fsspec.config.conf, "s3", {"endpoint_url": server.environment["FSSPEC_S3_ENDPOINT_URL"]})
    return server
