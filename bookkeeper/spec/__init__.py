"""The submission spec: what to run over which files. A TOML file, checked whole before anything happens.

Every fault is told at once, each with file, line, key, what is wrong, and what is allowed.
"""

from bookkeeper.spec.model import Spec
from bookkeeper.spec.reading import load

__all__ = ["Spec", "load"]
