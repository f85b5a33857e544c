"""What reaches storage behind URLs: which driver, with whose credentials, and what is said where there is none."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import fsspec
import httpx
import pytest

import bookkeeper
from bookkeeper import stageout
from bookkeeper.drivers import filesystem, named
from bookkeeper.errors import StorageError, UsageError
from services import xrootd

SECRET = "hunter2-hunter2"


@pytest.mark.parametrize(
    ("url", "extra"),
    [
        ("s3://bucket/x", "s3"),
        ("davs://host/x", "webdav"),
        ("dav://host/x", "webdav"),
        ("https://host/x", "http"),
        ("root://host//x", "xrootd"),
        ("zip://a.root::s3://bucket/x.zip", "s3"),
    ],
)
def test_a_driver_that_is_not_installed_is_told_with_the_extra_that_brings_it(url: str, extra: str) -> None:
    program = f"""
import builtins, sys
original = builtins.__import__
def without(name, *words, **options):
    if name.partition(".")[0] in ("s3fs", "webdav4", "aiohttp", "fsspec_xrootd", "XRootD"):
        raise ImportError("No module named " + name)
    return original(name, *words, **options)
builtins.__import__ = without
from bookkeeper.drivers import filesystem
from bookkeeper.errors import UsageError
try:
    filesystem({url!r})
except UsageError as error:
    print(error.remedy)
"""
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300)
    assert said.stdout == f"`pip install 'sam-bookkeeper[{extra}]'`\n", said.stderr


def test_a_protocol_that_nothing_knows_is_no_destination() -> None:
    with pytest.raises(UsageError, match="cannot be used: Protocol not known"):
        stageout.claim("nosuch://host/x", "mine")


@pytest.mark.parametrize("writable", ["http://host/out", "https://host/out"])
def test_http_is_no_destination_and_webdav_is_named(writable: str) -> None:
    with pytest.raises(UsageError, match="can be read, but not be written to") as caught:
        stageout.claim(writable, "mine")
    assert "davs://" in caught.value.remedy


@pytest.mark.parametrize(
    "url",
    [
        f"davs://me:{SECRET}@host/x",
        f"https://me:{SECRET}@host/x",
        f"s3://AKIA:ab/{SECRET}@bucket/x",
        f"zip://a.root::https://me:{SECRET}@host/a.zip",
    ],
)
def test_a_password_in_a_url_is_refused_and_not_repeated(url: str) -> None:
    def declared() -> Any:
        return list(bookkeeper.scan([url]))

    def recorded() -> Any:
        from bookkeeper.records import checked

        return checked(1, {"name": "x", "size": 1, "locations": [url]})

    for use in (lambda: filesystem(url), declared, recorded):
        with pytest.raises(UsageError, match="has a password in it") as caught:
            use()
        assert SECRET not in str(caught.value) and "[hidden]" in str(caught.value)
    if "::" not in url:
        with pytest.raises(UsageError, match="has a password in it"):
            stageout.resolve(url)


def test_a_secret_in_what_a_driver_says_is_hidden() -> None:
    with pytest.raises(StorageError) as caught, named("https://host/x"):
        raise RuntimeError(f"403 for https://host/x?X-Amz-Signature={SECRET}")
    assert SECRET not in str(caught.value)


def test_an_address_with_a_port_or_an_at_sign_in_its_path_is_no_password() -> None:
    assert stageout.resolve("root://me@host:1094//a:b@c") == "root://me@host:1094//a:b@c"


def test_a_token_is_shown_over_tls_only_and_read_anew_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bookkeeper.drivers.webdav import Bearer

    def shown(url: str) -> str | None:
        request = next(Bearer().auth_flow(httpx.Request("GET", url)))
        return request.headers.get("Authorization")

    monkeypatch.delenv("BEARER_TOKEN", raising=False)
    monkeypatch.setenv("BEARER_TOKEN_FILE", str(tmp_path / "token"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    for token in ("first", "renewed"):
        (tmp_path / "token").write_text(token + "\n")
        assert shown("https://host/x") == f"Bearer {token}"
    assert shown("http://host/x") is None
    monkeypatch.setenv("BEARER_TOKEN", "given")
    assert shown("https://host/x") == "Bearer given"


def test_options_of_fsspecs_configuration_reach_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(fsspec.config.conf, "davs", json.loads('{"auth": ["me", "secret"], "timeout": 5}'))
    client = filesystem("davs://host:8443/x")[0].client.http
    request = next(client.auth.auth_flow(httpx.Request("GET", "https://host:8443/x")))
    assert request.headers["Authorization"].startswith("Basic ")
    assert client.timeout == httpx.Timeout(5)


def test_davs_checks_whom_it_talks_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = xrootd.shared()
    with pytest.raises(StorageError, match="CERTIFICATE_VERIFY_FAILED"):
        stageout.claim(f"{server.davs}/{tmp_path.name}", "mine")
    fsspec.get_filesystem_class("davs").clear_instance_cache()
    monkeypatch.setenv("SSL_CERT_FILE", str(server.authority))
    stageout.claim(f"{server.davs}/{tmp_path.name}", "mine")
    assert stageout.claimed_by(f"{server.davs}/{tmp_path.name}") == "mine"
    fsspec.get_filesystem_class("davs").clear_instance_cache()


def test_what_a_job_runs_can_open_davs_too(tmp_path: Path) -> None:
    """By the package's entry point: nothing of bookkeeper is imported by the job."""
    server = xrootd.shared()
    stageout.claim(f"{server.dav}/{tmp_path.name}", "mine")
    url = f"{server.dav}/{tmp_path.name}/.bookkeeper/claim"
    program = f"import fsspec; print(fsspec.open({url!r}).open().read().decode())"
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300)
    assert '"catalog": "mine"' in said.stdout, said.stderr


def test_a_size_that_the_storage_does_not_tell_is_no_size_of_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or a good file would be taken for one that changed, and parked."""
    from fsspec.implementations.memory import MemoryFileSystem

    monkeypatch.setattr(MemoryFileSystem, "info", lambda *_: {"name": "/x", "type": "file", "size": None})
    with pytest.raises(StorageError, match="does not tell its size"):
        stageout.object_size("memory://x")
