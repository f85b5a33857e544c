"""Proxies and tokens of jobs on a real HTCondor pool: there when they start, and replaced while they run where that is promised."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

import bookkeeper
from bookkeeper.executors import htcondor as executor
from bookkeeper.executors.batch import BatchSystem
from bookkeeper_schema.states import JobState
from commandline import ok, run
from credential_files import DAY, make_proxy, make_token
from following import Followed, order
from services import condor as service
from services.condor import Pool

pytestmark = pytest.mark.fault

LOOK = (
    'while [ ! -e "$1/stop" ]; do stat -c %a "$X509_USER_PROXY" "$BEARER_TOKEN_FILE" > "$1/.m"; mv "$1/.m" "$1/modes";'
    ' cp "$X509_USER_PROXY" "$1/.p" && mv "$1/.p" "$1/proxy"; cp "$BEARER_TOKEN_FILE" "$1/.t" && mv "$1/.t" "$1/token";'
    " sleep 0.2; done"
)
"""Copy the credentials to where the test sees them, until it has seen enough."""

SECRET, NEWER = "SignatureOne", "SignatureTwo"


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    """A pool whose jobs do not report in the minutes of a test: a shadow that hands over a proxy meanwhile is stuck."""
    with service.running(CONDOR_STARTER_FIRST_UPDATE="300", CONDOR_STARTER_UPDATE="300") as calm:
        yield calm


@pytest.fixture(autouse=True)
def nothing_left(pool: Pool) -> Iterator[None]:
    """What a test leaves in the queue is no concern of the next."""
    yield
    pool.clear()


@dataclass
class Job:
    """A job with credentials that tells what they are."""

    folder: Path
    followed: Followed
    proxy: Path
    token: Path

    def sees(self, ends: datetime) -> bool:
        """Tell whether the proxy that the job has is signed by one that ends then, or is that one."""
        found = self.folder / "proxy"
        try:
            chain = x509.load_pem_x509_certificates(found.read_bytes())
        except (FileNotFoundError, ValueError):  # not yet, or half of it was there
            return False
        return min(one.not_valid_after_utc for one in chain) == ends and len(chain) >= 2

    def token_is(self, secret: str) -> bool:
        """Tell whether the token that the job has is the one with this signature."""
        found = self.folder / "token"
        return found.exists() and secret in found.read_text()

    def end(self) -> None:
        """Let it end, and follow it to its end."""
        (self.folder / "stop").touch()
        self.followed.until_over()
        assert self.followed.last().exit_code == 0


@pytest.fixture(params=["shared", "files", "spool"])
def job(request: pytest.FixtureRequest, pool: Pool, tmp_path: Path) -> Iterator[Job]:
    system: BatchSystem = executor.make(tmp_path, {"spool": True, "poll": 0.2} if request.param == "spool" else {})
    proxy, token = tmp_path / "x509up", tmp_path / "bt_u1000"
    make_proxy(proxy, DAY / 2)
    make_token(token, SECRET)
    transfer = "shared" if request.param == "shared" else "files"
    words = ("/bin/bash", "-c", LOOK, "-", str(tmp_path))
    given = order(tmp_path, f"creds-{request.param}", *words, transfer=transfer, proxy=str(proxy), token=str(token))
    system.check(given.asks)
    yield Job(tmp_path, Followed.of(system, given), proxy, token)
    (tmp_path / "stop").touch()
    system.close()


def ends(certificate: x509.Certificate) -> datetime:
    return certificate.not_valid_after_utc


def test_a_job_has_its_credentials_and_a_newer_proxy_while_it_runs(job: Job, pool: Pool) -> None:
    first = x509.load_pem_x509_certificate(job.proxy.read_bytes())
    job.followed.until(lambda _: job.sees(ends(first)) and job.token_is(SECRET))
    assert (job.folder / "modes").read_text().split() == ["600", "600"]
    newer = make_proxy(job.proxy, DAY * 0.9)
    make_token(job.token, NEWER)
    due = time.monotonic()

    def sees_it(_: Followed) -> bool:
        nonlocal due
        if time.monotonic() >= due:  # a shadow that has just begun may take the newer one for the one that its job has
            due += 5
            if job.followed.known.asks.transfer == "files":
                job.proxy.touch()
            job.followed.system.renew(job.followed.known)
        return job.sees(ends(newer))

    job.followed.until(sees_it)
    transfers = job.followed.known.asks.transfer == "files"
    if not transfers:
        job.followed.until(lambda _: job.token_is(NEWER))
    said = pool.tool("condor_q", job.followed.known.batch_id, "-l")
    assert SECRET not in said and NEWER not in said
    job.end()
    assert job.token_is(SECRET if transfers else NEWER)  # as docs/how-to/htcondor.md has it
    job.followed.system.forget(job.followed.known)
    kept = [path for path in job.followed.known.folder.rglob("*") if path.is_file()]
    assert not [path for path in kept if SECRET.encode() in path.read_bytes() or NEWER.encode() in path.read_bytes()]
    assert not [path for path in kept if b"PRIVATE KEY" in path.read_bytes()]


@pytest.mark.parametrize("way", ["shared", "files", "spool"])
def test_a_job_that_starts_later_has_what_was_renewed(pool: Pool, tmp_path: Path, way: str) -> None:
    """Somebody has to look after it (`renew`), unless the job reads the files themselves when it starts."""
    system = executor.make(tmp_path, {"spool": True, "poll": 0.2} if way == "spool" else {})
    proxy, token = tmp_path / "proxy", tmp_path / "token"
    make_proxy(proxy, DAY / 2)
    make_token(token, SECRET)
    words = ("/bin/bash", "-c", 'cat "$BEARER_TOKEN_FILE" >&2; cat "$X509_USER_PROXY"')
    asks = {"transfer": "shared" if way == "shared" else "files", "proxy": str(proxy), "token": str(token)}
    followed = Followed.of(system, order(tmp_path, f"late-{way}", *words, extra=("requirements = false",), **asks))
    followed.until(lambda one: one.last().state is JobState.IDLE)
    newer = make_proxy(proxy, DAY * 0.9)
    make_token(token, NEWER)
    if way != "files":
        system.renew(followed.known)
    pool.tool("condor_qedit", followed.jobs[0], "Requirements", "true")
    known = followed.known
    followed.until_over()
    system.fetch(known, 0)
    chain = x509.load_pem_x509_certificates((known.folder / "out.0").read_bytes())
    assert min(map(ends, chain)) == ends(newer)
    assert (SECRET if way == "spool" else NEWER) in (known.folder / "err.0").read_text()
    system.forget(known)
    system.close()


# -- a whole project ----------------------------------------------------------------------------------------------------

SPEC = """
[project]
name = "skim"
dataset = "zmumu"
[job]
command = ["sh", "-c", 'test -s "$X509_USER_PROXY" && test -s "$BEARER_TOKEN_FILE" && cat "$2" > "$1"', "skim", "{{output}}", "{{inputs}}"]
files_per_process = 6
[output]
name = "skim-{{process}}.root"
destination = "{folder}/out"
[executor]
kind = "htcondor"
proxy = "x509up"
token = "bt"
"""


@pytest.fixture
def spec(pool: Pool, tmp_path: Path, zmumu_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CONDOR_CONFIG", pool.config)
    monkeypatch.setenv("BOOKKEEPER_CATALOG", f"sqlite:///{tmp_path}/bookkeeper.db")
    monkeypatch.chdir(tmp_path)
    bookkeeper.create_catalog(f"sqlite:///{tmp_path}/bookkeeper.db").close()
    ok("file", "declare", zmumu_folder)
    ok("dataset", "define", "zmumu", "--names", "zmumu-*")
    path = tmp_path / "skim.toml"
    path.write_text(SPEC.format(folder=tmp_path))
    make_proxy(tmp_path / "x509up")
    make_token(tmp_path / "bt", SECRET)
    return path


def test_what_is_in_credentials_is_told_nowhere(spec: Path) -> None:
    folder = spec.parent
    told = ok("submit", "skim.toml", "--json")
    assert told.json["complete"]
    dry = ok("submit", "skim.toml", "--dry-run")
    printed = [told, dry, *(ok(*words) for words in (("jobs", "skim", "--all", "--json"), ("logs", "1", "--job")))]
    assert not [one for one in printed if SECRET in one.out + one.err]
    ours = {folder / "x509up", folder / "bt"}
    for path in (one for one in folder.rglob("*") if one.is_file() and one not in ours):
        assert SECRET.encode() not in path.read_bytes(), path
        assert b"PRIVATE KEY" not in path.read_bytes(), path


def _expired_proxy(folder: Path) -> None:
    make_proxy(folder / "x509up", -60)


def _no_key(folder: Path) -> None:
    whole = (folder / "x509up").read_text()
    (folder / "x509up").write_text(whole[: whole.index("-----BEGIN EC PRIVATE")])


BAD: dict[str, tuple[Any, str]] = {
    "expired proxy": (_expired_proxy, r"[executor] proxy: {}/x509up expired on 20"),
    "no certificate": (lambda folder: (folder / "x509up").write_text("?"), "it has no certificate"),
    "no key": (_no_key, "it has no private key"),
    "no proxy": (lambda folder: (folder / "x509up").unlink(), "there is no file {}/x509up"),
    "expired token": (lambda folder: make_token(folder / "bt", SECRET, -60), "[executor] token: {}/bt expired on 20"),
    "empty token": (lambda folder: (folder / "bt").write_text("\n"), "{}/bt is empty"),
    "a folder": (lambda folder: ((folder / "bt").unlink(), (folder / "bt").mkdir()), "cannot be read: Is a directory"),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_credentials_are_refused_before_anything_is_submitted(spec: Path, what: str) -> None:
    spoil, words = BAD[what]
    spoil(spec.parent)
    told = run("submit", "skim.toml")
    assert told.code == 2, told
    assert words.format(spec.parent) in told.err
    assert SECRET not in told.err
    assert json.loads(run("sql", "SELECT * FROM submissions", "--json").out or "[]") == []


def test_a_token_needs_a_name_that_can_be_carried(pool: Pool, tmp_path: Path) -> None:
    make_token(tmp_path / "a token", SECRET)
    given = order(tmp_path, "odd", "/bin/true", transfer="files", token=str(tmp_path / "a token"))
    system = executor.make(tmp_path, {})
    with pytest.raises(bookkeeper.BookkeeperError, match="cannot be called a token here"):
        system.prepare(given)
    shared = replace(given, asks=replace(given.asks, transfer="shared"))
    assert system.prepare(shared)
    system.close()
