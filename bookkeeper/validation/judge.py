"""A validator that somebody else brings: a function with a name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from bookkeeper.errors import ValidationError


@dataclass(frozen=True, slots=True)
class Judge:
    """``function(path, expect)`` raises `ValidationError` for a file that is not what it should be."""

    name: str
    function: Callable[[str, Mapping[str, object]], object]

    def ask(self, path: str, expect: Mapping[str, object]) -> None:
        """Let it judge. Raises `ValidationError`, which names the file; also where the function itself fails."""
        try:
            self.function(path, expect)
        except ValidationError as error:
            if path in str(error):
                raise
            raise ValidationError(f"{path}: {error}", remedy=error.remedy) from error
        except Exception as error:
            raise ValidationError(f"{path}: validator {self.name} failed: {type(error).__name__}: {error}") from error
