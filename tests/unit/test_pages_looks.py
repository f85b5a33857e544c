"""How the pages look: colours that can be read, the same everywhere; figures, and the steps of a process."""

from __future__ import annotations

import re
from importlib import resources
from typing import Any

import pytest

from bookkeeper.server.pages import render
from bookkeeper.server.pages.figures import AGAIN, Figures
from bookkeeper.server.pages.process import steps

CSS = render.static("pages.css").decode()


def luminance(colour: str) -> float:
    """Of WCAG 2.2, relative luminance."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_letters_can_be_read(theme: int) -> None:
    """Contrast of at least 4.5 of every colour of letters on every ground (WCAG 2.2, 1.4.3)."""
    colours = dict(re.findall(r"--(\w+): (#\w{6});", CSS.split(":root {")[theme + 1].split("}")[0]))
    for ground in ("paper", "card", "hover"):
        for ink in ("ink", "soft", "good", "bad", "accent", "warn"):
            low, high = sorted((luminance(colours[ground]), luminance(colours[ink])))
            assert (high + 0.05) / (low + 0.05) >= 4.5, f"{ink} on {ground}"


def test_report_has_the_colours_of_the_pages() -> None:
    template = (resources.files("bookkeeper.reporting") / "page.html.j2").read_text()
    for theme in (1, 2):
        ours, theirs = (
            dict(re.findall(r"--(\w+): (#\w{6});", text.split(":root {")[theme].split("}")[0]))
            for text in (CSS, template)
        )
        assert theirs.items() <= ours.items()


def test_figures_stand_for_a_while_although_numbers_change() -> None:
    now, part = 0.0, {"begin": 0.0, "end": 1.0, "committed": 1, "rolled_back": 0, "files": 2}

    def seen(files: int, live: int) -> dict[str, Any]:
        return {"now": {"request": "mass", "files": 9, "live": live}, "before": 0,
                "progress": [{**part, "files": files}], "window": {"whole": True, "processes": 1}}  # fmt: skip

    figures = Figures(lambda: now)
    first = figures.of(seen(2, live=1))
    assert [one["title"] for one in first] == ["Progress", "How processes ended"]
    assert figures.of(seen(2, live=1)) is first and figures.of(seen(3, live=1)) is first
    now = AGAIN
    second = figures.of(seen(3, live=1))
    assert second is not first and second[0]["svg"] != first[0]["svg"]
    assert figures.of(seen(4, live=0)) is not second, "the last word is drawn at once"


def test_states_feel_the_same_on_the_terminal() -> None:
    from bookkeeper.reporting.tones import TONES
    from bookkeeper_cli.render.words import state_style
    from bookkeeper_schema import states

    known = {str(member) for name in ("LedgerState", "DeliveryState", "ProcessState", "ProjectState", "OutputState")
             for member in getattr(states, name)}  # fmt: skip
    assert known <= TONES.keys()
    assert (state_style("committed"), state_style("parked"), state_style("rolled_back")) == ("green", "yellow", "red")
    assert all(f".state.{tone} " in CSS for tone in set(TONES.values()) - {"", "idle"})


def test_steps_are_drawn_where_they_were() -> None:
    row = {"started_at": 100.0, "ended_at": 200.0}
    begun = [{"step": "analysis", "at": 120.0}, {"step": "stage-inputs", "at": 100.0}]
    ended = [{"step": "stage-inputs", "at": 120.0, "outcome": "ok", "seconds": 19.0}]
    first, second = steps(begun, ended, row, 200.0)
    assert (first["step"], first["begin"], first["width"], first["tone"]) == ("stage-inputs", 0.0, 0.19, "good")
    assert (second["step"], second["begin"], second["width"]) == ("analysis", 0.2, 0.8)
    assert (second["outcome"], second["seconds"]) == ("not ended", None)
    live = steps(begun, ended, {**row, "ended_at": None}, 200.0)[1]
    assert (live["outcome"], live["seconds"], live["tone"]) == ("under way", 80.0, "live")
