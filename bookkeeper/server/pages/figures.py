"""The figures of a request's page, drawn once for the same numbers, and not again at once while they change.

Drawing takes a tenth of a second of a processor that the workers' calls need too.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, Final

from bookkeeper.reporting import plots

AGAIN: Final = 20.0
"""Seconds for which figures stand although the numbers changed."""

KEPT: Final = 64

Drawn = list[dict[str, Any]]


class Figures:
    """Draws, one at a time: matplotlib's settings are the whole program's."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, tuple[str, float, Drawn]] = OrderedDict()

    def of(self, seen: Mapping[str, Any]) -> Drawn:
        """Return the figures that there are data for: ``title``, ``words`` and ``svg``, which is markup."""
        if not seen["progress"]:
            return []
        name = str(seen["now"]["request"])
        numbers = repr((seen["progress"], seen["before"], seen["now"]["files"]))
        with self._lock:
            kept = self._kept.get(name)
            young = kept is not None and seen["now"]["live"] and self._clock() < kept[1] + AGAIN
            if kept is None or (kept[0] != numbers and not young):
                kept = (numbers, self._clock(), _draw(seen))
                self._kept[name] = kept
                while len(self._kept) > KEPT:
                    self._kept.popitem(last=False)
            self._kept.move_to_end(name)
            return kept[2]


def _draw(seen: Mapping[str, Any]) -> Drawn:
    from markupsafe import Markup

    window = seen["window"]
    part = "" if window["whole"] else f"the newest {window['processes']:,} processes"
    drawn = [("How processes ended", part, plots.ends(seen["progress"]))]
    if any(one["files"] for one in seen["progress"]):
        drawn.insert(0, ("Progress", part, plots.progress(seen["progress"], seen["now"]["files"], seen["before"])))
    # what matplotlib wrote is markup, whose texts it has escaped
    return [
        {"title": title, "words": words, "svg": Markup(plots.without_styles(svg))}  # noqa: S704
        for title, words, svg in drawn
    ]
