"""Copy a whole catalog into another database: every row of one moment, in one transaction, compared before it counts."""

from bookkeeper.copying.copying import CopyInfo, copy

__all__ = ["CopyInfo", "copy"]
