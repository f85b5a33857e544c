"""A catalog in PostgreSQL: many hosts, many writers at once.

`statements` says what becomes of the library's SQL, `connections` how moves of several writers stay apart, `database` what a
lost race or a lost connection leads to.
"""

from bookkeeper.postgres.catalogs import create, exists, open_existing
from bookkeeper.postgres.database import PostgresDatabase
from bookkeeper.postgres.statements import translated

__all__ = ["PostgresDatabase", "create", "exists", "open_existing", "translated"]
