"""One call over HTTP: time-outs, retries with jitter, and errors as the classes they were on the other side.

Every call may be lost on its way there or back. It is repeated where repeating is safe: always before it was taken
(no connection; the server said 429 or 503), and after that where the call is ``repeatable``. A server that was
restarted is waited for; ``patience`` is how long, in seconds.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

from bookkeeper.errors import (
    BookkeeperError,
    CatalogBusy,
    CatalogError,
    CatalogOutdated,
    CatalogTooNew,
    ServerUnreachable,
    UsageError,
)
from bookkeeper.wire import PROTOCOL, decode_error

if TYPE_CHECKING:
    import httpx
    from tenacity import RetryCallState

T = TypeVar("T")

GREETING: Final = 10.0
"""Seconds for which a server is waited for that was never met: its address may be wrong."""

PATIENCE: Final = 60.0
"""Seconds for which a call is repeated before it fails."""

GLANCE: Final = 0.1
"""Seconds after which a pause looks whether it is to stop."""

MOMENT: Final = 0.5
"""Seconds of waiting of which nobody needs to be told."""

TIMEOUTS: Final = {"connect": 10.0, "read": 60.0, "write": 60.0, "pool": 60.0}
WAITS: Final = (0.1, 10.0)
"""The first and the longest pause between two tries, in seconds; each is made up to twice as long by chance."""

NOT_TAKEN: Final = frozenset({429, 503})
"""Answers by which a server says that it did nothing and may be asked again."""

GATEWAY: Final = frozenset({502, 504})
"""Answers of something between us and the server, which does not know what the server did."""


@dataclass(frozen=True, slots=True)
class Response:
    """What was answered: the status, the headers (names in lower case) and the body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class _Again(Exception):
    """This try came to nothing, and another may."""

    def __init__(self, words: str, *, after: float = 0.0, busy: bool = False) -> None:
        super().__init__(words)
        self.after = after
        self.busy = busy


class Transport:
    """The way to one server. Safe to use from several threads, and after a fork."""

    def __init__(self, url: str, *, patience: float = PATIENCE) -> None:
        self.url = checked(url)
        self.patience = patience
        self.told_to_stop: Callable[[], bool] = lambda: False
        self._guard = threading.Lock()
        self._client: httpx.Client | None = None
        self._pid = 0

    def post(
        self,
        path: str,
        body: bytes,
        token: str | None = None,
        *,
        repeatable: bool = True,
        patience: float | None = None,
    ) -> Response:
        """Send one call; return its answer, of any 2xx status.

        ``token`` goes into the ``Authorization`` header and nowhere else. Raises the error that the server answered,
        `ServerUnreachable`, `CatalogBusy` (it asked to come later, too often), `CatalogTooNew` or `CatalogOutdated`
        (it speaks another version of the protocol).
        """
        return self._patiently("POST", path, body, token, repeatable, self.patience if patience is None else patience)

    def get(
        self,
        path: str,
        token: str | None = None,
        *,
        patience: float | None = None,
        on_wait: Callable[[str], object] | None = None,
    ) -> Response:
        """Ask for what is at a path; errors as of `post`, ``on_wait`` as of `patiently`."""
        return self.patiently(lambda: self._once("GET", path, None, token, True), patience, on_wait)

    def close(self) -> None:
        """Let go of the connections."""
        with self._guard:
            client, self._client = self._client, None
        if client is not None and self._pid == os.getpid():
            client.close()

    def _patiently(
        self, method: str, path: str, body: bytes | None, token: str | None, repeatable: bool, patience: float
    ) -> Response:
        return self.patiently(lambda: self._once(method, path, body, token, repeatable), patience)

    def patiently(
        self, once: Callable[[], T], patience: float | None = None, on_wait: Callable[[str], object] | None = None
    ) -> T:
        """Try until it is answered, for so many seconds; see `sending` for what is tried again.

        Not again once `told_to_stop` says so. ``on_wait`` is told, once, why it is waited, if it is for long.
        """
        import tenacity

        patience = self.patience if patience is None else patience
        out_of_patience = tenacity.stop_before_delay(patience)
        tries = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(_Again),
            wait=_pause,
            stop=lambda state: self.told_to_stop() or out_of_patience(state),
            sleep=self._sleep,
            before_sleep=None if on_wait is None else _Once(on_wait),
            reraise=True,
        )
        try:
            return tries(once)
        except _Again as error:
            if error.busy:
                raise CatalogBusy(
                    f"{self.url} asked for {patience:.0f} s to come later: {error}", remedy="try again later"
                ) from error
            raise ServerUnreachable(f"{self.url} cannot be reached: {error}") from error

    def _sleep(self, seconds: float) -> None:
        """Sleep, but not on when it is told to stop."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0 and not self.told_to_stop():
            time.sleep(min(left, GLANCE))

    def _once(self, method: str, path: str, body: bytes | None, token: str | None, repeatable: bool) -> Response:
        headers = {"content-type": "application/json", "bookkeeper-protocol": str(PROTOCOL)}
        if token is not None:
            headers["authorization"] = f"Bearer {token}"
        with self.sending(repeatable):
            answer = self.client().request(method, path, content=body, headers=headers)
            self.judge(answer, repeatable)
        named = {name.lower(): value for name, value in answer.headers.items()}
        return Response(answer.status_code, named, answer.content)

    @contextlib.contextmanager
    def sending(self, repeatable: bool) -> Iterator[None]:
        """Raise what goes wrong on the way as ours, or as what `patiently` tries again."""
        import httpx

        try:
            yield
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            if "CERTIFICATE_VERIFY_FAILED" in str(error):
                raise ServerUnreachable(
                    f"{self.url} shows a certificate that is not trusted: {error}",
                    remedy="$SSL_CERT_FILE names a file with the certificate of its authority",
                ) from error
            raise _Again(_words(error)) from error
        except (httpx.LocalProtocolError, UnicodeEncodeError):  # whose words would show the token
            raise UsageError("the token, or the address, has characters that no HTTP header takes") from None
        except httpx.TransportError as error:
            if repeatable:
                raise _Again(_words(error)) from error
            raise ServerUnreachable(
                f"the connection to {self.url} broke before the answer came ({_words(error)})",
                remedy="what was asked may have been done: look before you ask again",
            ) from error
        except (httpx.HTTPError, httpx.InvalidURL, httpx.CookieConflict) as error:
            raise UsageError(f"{self.url} cannot be asked: {error}") from error

    def judge(self, answer: httpx.Response, repeatable: bool = False) -> None:
        """Raise what an answer says, unless it is a good one."""
        status, headers = answer.status_code, {name.lower(): value for name, value in answer.headers.items()}
        if status in NOT_TAKEN or (status in GATEWAY and repeatable):
            problem = decode_error(answer.content)
            words = problem.message if problem else f"it answered {status} {answer.reason_phrase}"
            raise _Again(words, after=_seconds(headers.get("retry-after")), busy=True)
        self._check_version(status, headers)
        if status < 300:
            return
        problem = decode_error(answer.content)
        if problem is None:
            raise (CatalogError if status >= 500 else BookkeeperError)(
                f"{self.url} answered {status} {answer.reason_phrase}", remedy="its log tells more about it"
            )
        raise problem

    def _check_version(self, status: int, headers: Mapping[str, str]) -> None:
        spoken = headers.get("bookkeeper-protocol")
        if spoken == str(PROTOCOL):
            return
        if spoken is None or not spoken.isdecimal():
            raise ServerUnreachable(
                f"{self.url} is no bookkeeper server (it answered {status})", remedy="check the address"
            )
        version = headers.get("bookkeeper-version", "unknown")
        if int(spoken) > PROTOCOL:
            raise CatalogTooNew(
                f"the server at {self.url} (bookkeeper {version}) speaks protocol {spoken}; this bookkeeper speaks {PROTOCOL}",
                remedy=f"install bookkeeper {version} here",
            )
        raise CatalogOutdated(
            f"the server at {self.url} (bookkeeper {version}) speaks protocol {spoken}; this bookkeeper needs {PROTOCOL}",
            remedy="have the server upgraded, or install the older bookkeeper here",
        )

    def client(self) -> httpx.Client:
        """Return the connections, for what is more than one call with one answer."""
        import ssl

        import httpx

        with self._guard:
            if self._client is None or self._pid != os.getpid():  # a connection does not survive a fork
                self._client, self._pid = None, os.getpid()
                limits = httpx.Limits(max_connections=None, max_keepalive_connections=20, keepalive_expiry=30.0)
                # Whom the system trusts is long to read, and of no use without TLS: nobody is trusted then.
                trust = True if self.url.lower().startswith("https:") else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
                timeouts = httpx.Timeout(**TIMEOUTS)
                self._client = httpx.Client(base_url=self.url, verify=trust, timeout=timeouts, limits=limits)
            return self._client


class _Once:
    """Tells, once, why it is tried again, where that takes longer than a moment."""

    def __init__(self, tell: Callable[[str], object]) -> None:
        self._tell, self._told = tell, False

    def __call__(self, state: RetryCallState) -> None:
        if not self._told and (state.seconds_since_start or 0.0) >= MOMENT:
            self._told = True
            self._tell(str(state.outcome.exception() if state.outcome else ""))


def checked(url: str) -> str:
    """Return the address of a server without a slash at its end. Raises `UsageError`."""
    import httpx

    remedy = "use https://HOST:PORT"
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, TypeError, ValueError) as error:
        raise UsageError(f"{url[:200]!r} is no address of a server", remedy=remedy) from error
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise UsageError(f"{url[:200]!r} is no address of a server", remedy=remedy)
    if parsed.userinfo or parsed.query or parsed.fragment:
        raise UsageError(
            "the address of a server has no user, query or fragment",
            remedy=f"{remedy}, and the token by $BOOKKEEPER_TOKEN",
        )
    return url.rstrip("/")


def _pause(state: RetryCallState) -> float:
    """Return how long to wait after this try: what the server asked for, or longer each time; and up to twice that."""
    import random

    first, longest = WAITS
    error: Any = state.outcome.exception() if state.outcome else None
    least = float(getattr(error, "after", 0.0)) or min(longest, first * 2.0 ** min(state.attempt_number - 1, 10))
    return least * (1 + random.random())  # noqa: S311 - spreads the callers, no secret


def _seconds(header: str | None) -> float:
    with contextlib.suppress(TypeError, ValueError):
        return min(max(float(header or 0), 0.0), 60.0)
    return 0.0


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
