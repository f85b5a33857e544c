"""What PostgreSQL makes of the library's statements, which are written in words that SQLite takes as they are.

=====================================  =====================================================================
in a statement                         for PostgreSQL
=====================================  =====================================================================
`bookkeeper.database.NOW`              the time at which the statement began, by the server's clock
``:name``, ``?``                       a parameter
``:name/*type*/``                      a parameter of that type, where PostgreSQL cannot tell (a comment to SQLite)
``--pg …`` to the end of its line      ``…``: what only PostgreSQL needs (a comment to SQLite)
``--sqlite …`` above a ``--pg`` line   is a comment to both; says why they differ
``group_concat``, ``char``, ``instr``  ``string_agg``, ``chr``, ``strpos``
``json_group_array``                   ``json_agg``
``x GLOB :glob``                       ``x ~ bookkeeper_glob(:glob)``, a function of the schema
``json_extract/*number*/``             ``json_extract_number``, a function of the schema
=====================================  =====================================================================

A statement is translated once; psycopg prepares it once a connection.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from bookkeeper.database import NOW

CLOCK: Final = "EXTRACT(EPOCH FROM statement_timestamp())::double precision"

_FUNCTIONS: Final = {
    "group_concat(": "string_agg(",
    "json_group_array(": "json_agg(",
    "instr(": "strpos(",
    "char(10)": "chr(10)",
}
_WORDS: Final = re.compile("|".join(rf"\b{re.escape(word)}" for word in _FUNCTIONS), re.IGNORECASE)
_GLOB: Final = re.compile(r" GLOB (:\w+)")
_EXTRACT: Final = re.compile(r"json_extract/\*(\w+)\*/")
_PARAMETER: Final = re.compile(r"(?<![:\w]):([a-z_][a-z_0-9]*)(?:/\*([a-z ]+)\*/)?")
_OURS: Final = re.compile(r"--pg ", re.IGNORECASE)


@lru_cache(maxsize=4096)
def translated(statement: str, *, bound: bool = True) -> str:
    """Return a statement as PostgreSQL takes it; ``bound``: with parameters, which psycopg writes with a ``%``."""
    text = _OURS.sub("", statement).replace(NOW, CLOCK)
    text = _WORDS.sub(lambda found: _FUNCTIONS[found[0].lower()], text)
    if not bound:
        return text
    text = _EXTRACT.sub(r"json_extract_\1", _GLOB.sub(r" ~ bookkeeper_glob(\1)", text))
    text = text.replace("%", "%%")
    text = _PARAMETER.sub(lambda found: f"%({found[1]})s" + (f"::{found[2]}" if found[2] else ""), text)
    return text.replace("?", "%s")
