"""A token issuer as sites run them: real HTTP on this host, with a discovery document and published keys."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey


class Issuer:
    """What an issuer has and says; tests change it. ``asked`` counts the requests for its keys."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.asked = 0
        self.down = False
        self.keys: dict[str, Any] = {}
        self.about: dict[str, Any] = {"issuer": url, "jwks_uri": f"{url}/jwks"}
        self.published: list[dict[str, Any]] | None = None
        self.answers: dict[str, bytes] = {}
        self.add("first")

    def add(self, kid: str, kind: str = "RSA") -> None:
        parameters = {"kid": kid, "use": "sig"}
        made: Any = RSAKey.generate_key(2048, parameters) if kind == "RSA" else ECKey.generate_key("P-256", parameters)
        self.keys[kid] = made

    def sign(self, claims: dict[str, Any], *, by: str = "first", **header: Any) -> str:
        key = self.keys[by]
        algorithm = "RS256" if isinstance(key, RSAKey) else "ES256"
        return jwt.encode({"alg": algorithm, "kid": by, **header}, claims, key, algorithms=[algorithm])

    def answer(self, path: str) -> bytes | None:
        if self.down:
            return None
        if path in self.answers:
            return self.answers[path]
        if path == "/.well-known/openid-configuration":
            return json.dumps(self.about).encode()
        if path == "/jwks":
            self.asked += 1
            keys = self.published
            return json.dumps(
                {"keys": [key.as_dict(private=False) for key in self.keys.values()] if keys is None else keys}
            ).encode()
        return None


@contextlib.contextmanager
def an_issuer() -> Iterator[Issuer]:
    """Run an issuer for a block."""
    found: list[Issuer] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = found[0].answer(self.path)
            self.send_response(503 if body is None else 200)
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        found.append(Issuer(f"http://127.0.0.1:{server.server_address[1]}"))
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield found[0]
        finally:
            server.shutdown()
            thread.join()
