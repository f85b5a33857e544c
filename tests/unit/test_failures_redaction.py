"""What a failure leaves in the catalog has no secret in it, and is explained as before."""

from __future__ import annotations

import time

import pytest

from bookkeeper.failures import Evidence, default_rules
from bookkeeper.failures.redaction import HIDDEN, redacted, without_secrets

TOKEN = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJoZW5yaSJ9.c2lnbmF0dXJlLW9mLWl0"


@pytest.mark.parametrize(
    "text",
    [
        f"root://eos//store/f.root?authz=Bearer%20{TOKEN}: [3010] denied",
        "https://host/f.root?authz=c2VjcmV0c2VjcmV0c2VjcmV0&x=1 failed",
        f"> Authorization: Bearer {TOKEN}",
        "curl -H 'Authorization: Basic c2VjcmV0c2VjcmV0'",
        "davs://me:c2VjcmV0c2VjcmV0@dcache.example/f.root: 401",
        "export AWS_SECRET_ACCESS_KEY=c2VjcmV0c2VjcmV0",
        "url?X-Amz-Signature=c2VjcmV0c2VjcmV0&partNumber=1",
        "password='c2VjcmV0c2VjcmV0' was refused",
        f"token {TOKEN} has expired",
        "-----BEGIN RSA PRIVATE KEY-----\nc2VjcmV0c2VjcmV0\nc2VjcmV0c2VjcmV0\n-----END RSA PRIVATE KEY-----",
    ],
)
def test_secrets_are_hidden(text: str) -> None:
    shown = redacted(text)
    assert HIDDEN in shown
    assert "c2VjcmV0" not in shown and "eyJ" not in shown


@pytest.mark.parametrize(
    "text",
    [
        "token expired", "bearer token is missing", "basic authentication failed", "signature=bad", "exit code 1",
        "root://eos.cern.ch//store/f.root: [3011] No such file", "https://host:1094/store/a@b", "authorization: denied",
        "KeyError: 'password'", "token=none",
    ],
)  # fmt: skip
def test_the_rest_stays(text: str) -> None:
    assert redacted(text) == text


def test_all_texts_of_evidence_are_without_secrets() -> None:
    secret = f"Authorization: Bearer {TOKEN}"
    kept = without_secrets(Evidence(message=secret, stderr=secret, exceptions=(("OSError", secret),), exit_code=3))
    assert TOKEN not in repr(kept) and kept.exit_code == 3


def test_no_example_of_a_rule_is_changed() -> None:
    """What the rules know is no secret: they explain what is stored as they explained what was said."""
    examples = [rule.example for rule in default_rules().rules if isinstance(rule.example, str)]
    assert examples and [text for text in examples if redacted(text) != text] == []


def test_a_long_text_takes_no_long_time() -> None:
    for text in ("a" * 100_000, "eyJ" * 30_000, "a://" + "b:" * 50_000, "-----BEGIN PRIVATE KEY-----" * 3000):
        began = time.perf_counter()
        redacted(text)
        assert time.perf_counter() - began < 2
