"""What can go wrong, as a tree. Each class carries the exit code of the command line and what to do next.

::

    BookkeeperError                 1   something failed; the message says what
    ├── UsageError                  2   the request itself is wrong
    │   ├── SpecError               2   a submission spec does not say what it must
    │   └── QueryError              2   a dataset query or SQL statement cannot be read
    ├── NotFound                    3   the named thing does not exist
    ├── Conflict                    4   the named thing exists and differs
    │   └── FileChanged             4   a file is not what was declared or pinned
    ├── NotAllowed                  5   the state of the thing forbids this
    ├── CatalogError                6   the catalog cannot be used
    │   ├── CatalogMissing          6
    │   ├── CatalogTooNew           6
    │   ├── CatalogOutdated         6
    │   ├── CatalogBusy             6
    │   └── ServerUnreachable       6
    │       └── ServerRestarted     6
    ├── Fenced                      7   this process was rolled back; what it did does not count
    ├── ValidationError             8   a file is not what it should be
    ├── StorageError                9   copying, reading or publishing failed
    │   └── PublicationConflict     9   another object lies where this one should go
    ├── Incomplete                 10   the request is not complete
    ├── Paused                     11   the project is paused
    ├── NothingToDo                12   no file is left for this process
    ├── RolledBack                 13   the process was rolled back in good order
    ├── Unsound                    14   `check` found a broken invariant
    ├── NodeExcluded               15   this node is given nothing for a while
    ├── ExecutorUnavailable        17   the batch system cannot be reached or does not answer
    └── AccessDenied               16   the catalog server does not let the caller do this
        ├── Unauthenticated        16
        └── Forbidden              16
"""

from __future__ import annotations

from typing import ClassVar


class BookkeeperError(Exception):
    """Something failed.

    The message names what happened and to which object; ``remedy`` says what to do next.
    """

    exit_code: ClassVar[int] = 1
    default_remedy: ClassVar[str] = ""

    def __init__(self, message: str, *, remedy: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = self.default_remedy if remedy is None else remedy

    def __str__(self) -> str:
        return self.message


class UsageError(BookkeeperError):
    """The request itself is wrong: a name, a number, a combination."""

    exit_code = 2


class SpecError(UsageError):
    """A submission spec does not say what it must."""

    default_remedy = "see `bookkeeper submit --help` and the reference page of the spec"


class QueryError(UsageError):
    """A dataset query or an SQL statement cannot be read."""


class NotFound(BookkeeperError):
    """The named thing does not exist in this catalog."""

    exit_code = 3


class Conflict(BookkeeperError):
    """The named thing exists already and differs."""

    exit_code = 4


class FileChanged(Conflict):
    """A file is not what was declared or pinned: its size or checksum differ."""

    default_remedy = (
        "`bookkeeper file declare --update` records the new content; `bookkeeper file retire` withdraws the file"
    )


class NotAllowed(BookkeeperError):
    """The state of the thing forbids this move."""

    exit_code = 5


class CatalogError(BookkeeperError):
    """The catalog cannot be used."""

    exit_code = 6


class CatalogMissing(CatalogError):
    """There is no catalog at this address."""

    default_remedy = "`bookkeeper init` creates one; `--catalog` or $BOOKKEEPER_CATALOG names another"


class CatalogTooNew(CatalogError):
    """The catalog was written by a newer bookkeeper than this one."""

    default_remedy = "install the newer bookkeeper"


class CatalogOutdated(CatalogError):
    """The catalog was written by an older bookkeeper."""

    default_remedy = "`bookkeeper init` upgrades it (take `bookkeeper backup` first)"


class CatalogBusy(CatalogError):
    """The catalog stayed locked by another program."""

    default_remedy = "find what holds it (`lsof` on the database); then try again"


class ServerUnreachable(CatalogError):
    """The catalog's server cannot be reached, or did not answer."""

    default_remedy = "check the address and the network; `curl ADDRESS/healthz` tells whether it runs"


class ServerRestarted(ServerUnreachable):
    """The catalog's server was restarted while it was asked: it is not known whether it did what it was asked."""

    default_remedy = "look whether it was done (`bookkeeper status PROJECT`); then do it again, if it was not"


class Fenced(BookkeeperError):
    """This process was rolled back: its files went to others, and what it did does not count."""

    exit_code = 7


class ValidationError(BookkeeperError):
    """A file is not what it should be. The message names file, object and fault."""

    exit_code = 8


class StorageError(BookkeeperError):
    """Copying, reading back, publishing or removing an object failed."""

    exit_code = 9


class PublicationConflict(StorageError):
    """Another object lies where this output should go; nothing was overwritten."""

    default_remedy = "look at the object, move it away, then `bookkeeper check --repair` publishes"


class Incomplete(BookkeeperError):
    """The request is not complete: files or publications are missing."""

    exit_code = 10


class Paused(BookkeeperError):
    """The project is paused; nothing is delivered until it is resumed."""

    exit_code = 11


class NothingToDo(BookkeeperError):
    """No file is left for this process."""

    exit_code = 12


class RolledBack(BookkeeperError):
    """The process was rolled back in good order; its files are free again."""

    exit_code = 13


class Unsound(BookkeeperError):
    """`check` found a broken invariant: the catalog says two things that cannot both be true."""

    exit_code = 14


class NodeExcluded(BookkeeperError):
    """This node is given nothing for a while: too much failed on it, or a person says so."""

    exit_code = 15


class AccessDenied(BookkeeperError):
    """Whoever calls may not do this. ``cause`` is one word that refusals are counted by; no message holds a token."""

    exit_code = 16
    cause = "denied"

    def __init__(self, message: str, *, remedy: str | None = None, cause: str | None = None) -> None:
        super().__init__(message, remedy=remedy)
        if cause is not None:
            self.cause = cause


class Unauthenticated(AccessDenied):
    """The catalog server does not know who calls: there is no token, or it does not hold."""

    default_remedy = "put a token into $BOOKKEEPER_TOKEN or the file $BOOKKEEPER_TOKEN_FILE; `bookkeeper token create` makes one on the server"
    cause = "missing"


class Forbidden(AccessDenied):
    """The catalog server knows who calls, and the token does not allow this."""

    default_remedy = "ask an administrator of the catalog for a token with this scope"
    cause = "scope"


class ExecutorUnavailable(BookkeeperError):
    """The batch system cannot be reached now, or does not answer."""

    exit_code = 17
    default_remedy = "see whether it runs; nothing is lost, and the same command goes on"
