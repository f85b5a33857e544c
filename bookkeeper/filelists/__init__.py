"""Lists of files as people and programs write them: JSON, JSON lines, CSV, TSV, or the names of files, one a line."""

from bookkeeper.filelists.reading import FORMATS, names, read
from bookkeeper.filelists.samples import Sample, samples

__all__ = ["FORMATS", "Sample", "names", "read", "samples"]
