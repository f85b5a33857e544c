"""Credentials as sites give them out: an X.509 proxy (RFC 3820) of a user whom a certificate authority knows, and a SciToken."""

from __future__ import annotations

import base64
import functools
import json
import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

PROXY_INFO = x509.UnrecognizedExtension(
    x509.ObjectIdentifier("1.3.6.1.5.5.7.1.14"),
    bytes.fromhex("300c300a06082b06010505071501"),  # ProxyCertInfo: the policy is inheritAll
)
SIGNS = x509.KeyUsage(True, False, False, False, False, False, False, False, False)
DAY = 86400.0


def make_proxy(path: Path, seconds: float = DAY) -> x509.Certificate:
    """Write a proxy that is valid for so long from now; whoever reads the file meanwhile has the old one or this."""
    user, of_user = _user()
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _name("A User", str(x509.random_serial_number()))
    proxy = _certificate(subject, of_user.subject, key, user, seconds, [(PROXY_INFO, True), (SIGNS, True)])
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    _write(path, _pem(proxy) + secret + _pem(of_user))
    return proxy


def make_token(path: Path, secret: str, seconds: float | None = DAY) -> bytes:
    """Write a token that nobody signed, whose signature is ``secret``; return what is in the file."""
    claims: dict[str, object] = {"iss": "https://tokens.example.org", "sub": "a user", "scope": "storage.modify:/"}
    claims |= {} if seconds is None else {"exp": int(time.time() + seconds)}
    parts = [json.dumps(part).encode() for part in ({"alg": "RS256", "typ": "JWT"}, claims)]
    token = b".".join([*(base64.urlsafe_b64encode(part).rstrip(b"=") for part in parts), secret.encode()])
    _write(path, token + b"\n")
    return token + b"\n"


@functools.cache
def _user() -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    authority, user = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    of_user = _certificate(_name("A User"), _name("An Authority"), user, authority, 400 * DAY, [(SIGNS, True)])
    return user, of_user


def _name(*common: str) -> x509.Name:
    organization = x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Tests")
    return x509.Name([organization, *(x509.NameAttribute(NameOID.COMMON_NAME, one) for one in common)])


def _certificate(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    signer: ec.EllipticCurvePrivateKey,
    seconds: float,
    extensions: list[tuple[x509.ExtensionType, bool]],
) -> x509.Certificate:
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=2))
        .not_valid_after(now + timedelta(seconds=seconds))
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    return builder.sign(signer, hashes.SHA256())


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _write(path: Path, data: bytes) -> None:
    part = path.with_name(f".{path.name}.new")
    part.touch(mode=0o600)
    part.write_bytes(data)
    os.replace(part, path)
