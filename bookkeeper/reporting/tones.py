"""How a state is to be felt, the same on the terminal and on every page."""

from __future__ import annotations

from typing import Any, Final

TONES: Final = {
    "open": "live",
    "paused": "warn",
    "ended": "idle",
    "active": "live",
    "staged": "live",
    "held": "live",
    "available": "",
    "delivered": "",
    "opened": "live",
    "consumed": "good",
    "committed": "good",
    "published": "good",
    "parked": "warn",
    "skipped": "warn",
    "failed": "bad",
    "rolled_back": "bad",
    "discarded": "idle",
    "revoking": "warn",
    "revoked": "warn",
    "retired": "idle",
    "violation": "bad",
    "note": "idle",
}
"""Of every state: ``good``, ``live`` (under way), ``warn`` (a person may have to act), ``bad``, ``idle``, "" (nothing yet)."""


def tone(state: Any) -> str:
    """Return the tone of a state, "" where it has none."""
    return TONES.get(str(state), "")
