"""What kinds of failure there are."""

from __future__ import annotations

from enum import StrEnum


class FailureCategory(StrEnum):
    """What kind of failure it was: what to do next follows from it."""

    TRANSIENT_IO = "transient_io"  # network or storage, for a while: the same again is likely to work
    EXECUTOR = "executor"  # the node or the batch system: elsewhere, or with more memory, it is likely to work
    CONFIGURATION = "configuration"  # a person must change something first: every file would fail the same way
    CORRUPTED_INPUT = "corrupted_input"  # an input is not what it should be
    ANALYSIS_CRASH = "analysis_crash"  # the program broke; the input it had may be why
    UNKNOWN = "unknown"  # nothing that is known was seen
