"""The demonstration: real ROOT files, jobs that fail in every way, recovery, and the proof by reading what came out.

``run`` tells the story; `bookkeeper demo` shows it. ``python -m bookkeeper.demo.analysis`` is the analysis that it submits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bookkeeper.demo.proof import Proof, prove
    from bookkeeper.demo.result import DemoResult, Show
    from bookkeeper.demo.story import run

__all__ = ["DemoResult", "Proof", "Show", "prove", "run"]

_HOMES = {"DemoResult": "result", "Proof": "proof", "Show": "result", "prove": "proof", "run": "story"}


def __getattr__(name: str) -> Any:
    """Import a name when it is first used: the analysis, a program of its own, needs none of them."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
