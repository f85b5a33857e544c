"""Write the history of one request into an SQLite file of its own, for whoever has no catalog and no bookkeeper."""

from bookkeeper.export.writing import ExportInfo, export

__all__ = ["ExportInfo", "export"]
