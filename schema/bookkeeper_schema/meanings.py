"""What every column of every table means, in words: for the reference page, and for what is written out of a catalog."""

from __future__ import annotations

from importlib.resources import files


def column_meanings() -> dict[str, dict[str, str]]:
    """Return the words of every column, by table and column."""
    import tomllib

    return tomllib.loads((files("bookkeeper_schema") / "columns.toml").read_text(encoding="utf-8"))
