"""Which files: a small query language over columns and metadata, and globs over logical names, as SQL conditions.

Every value that a user wrote is a bound parameter.
"""

from bookkeeper.query.conditions import Fragment, compile, name_matches, warnings
from bookkeeper.query.language import COLUMNS, Query, check_key, parse

__all__ = ["COLUMNS", "Fragment", "Query", "check_key", "compile", "name_matches", "parse", "warnings"]
