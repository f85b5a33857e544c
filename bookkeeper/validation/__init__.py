"""Is a file what it should be? ROOT by our own reader, common formats by the standard library, the rest by a command."""

from bookkeeper.validation.judge import Judge
from bookkeeper.validation.validate import LEVELS, Validation, validate

__all__ = ["LEVELS", "Judge", "Validation", "validate"]
