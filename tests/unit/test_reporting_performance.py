"""What is told of performance: totals, distributions, slow nodes, progress, waste; and the page."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bookkeeper import reporting
from bookkeeper.errors import StorageError
from bookkeeper.failures import Evidence
from bookkeeper.reporting.distributions import distribution, median, quantile
from bookkeeper.reporting.slowness import slow_nodes
from failing import FULL, SEGFAULT, commit, fail, find_nothing, interrupt, world
from ledgers import World

EVIL = "<script>alert(1)</script>"


@pytest.fixture
def made(tmp_path: Path) -> Iterator[World]:
    one = world(tmp_path / "bookkeeper.db")
    yield one
    one.close()


def page_of(made: World) -> str:
    return reporting.page_of(reporting.performance_of(made.database, "p"), reporting.failures_of(made.database, "p"))


def test_a_report_adds_up(made: World) -> None:
    commit(made, "n1", 2, cpu_s=90.0, input_bytes=1000)
    commit(made, "n2", 1, cpu_s=50.0)
    fail(made, SEGFAULT, "n1", lasted=60)
    fail(made, FULL, "n2", lasted=30)
    interrupt(made, lasted=10)
    find_nothing(made)
    view = reporting.performance_of(made.database, "p")
    totals = view["totals"]
    assert (totals["processes"], totals["committed"], totals["failed"], totals["stageout_failures"]) == (6, 2, 1, 1)
    assert totals["waste_s"] == pytest.approx(100, abs=10)
    assert totals["waste_share"] == pytest.approx(1 / 3, abs=0.05)
    assert totals["cpu_efficiency"] == pytest.approx(0.7)
    assert (totals["measured"], totals["input_bytes"], totals["written_bytes"]) == (2, 1000, None)
    lost = {row["category"]: row["waste_s"] for row in view["waste"]}
    assert lost.keys() == {"analysis_crash", "configuration", "interrupted"}
    assert sum(lost.values()) == pytest.approx(totals["waste_s"])
    assert sum(part["files"] for part in view["progress"]) == 3
    assert sum(part["rolled_back"] for part in view["progress"]) == 3
    assert view["wall_time_s"]["count"] == view["peak_rss_mb"]["count"] == 2
    assert [row["node"] for row in view["nodes"]] == ["n1", "n2"]


def test_a_project_without_a_process_has_a_report(made: World) -> None:
    view = reporting.performance_of(made.database, "p")
    assert (view["nodes"], view["progress"], view["waste"], view["wall_time_s"]) == ([], [], [], None)
    assert view["totals"]["waste_share"] is view["totals"]["cpu_efficiency"] is view["totals"]["cpu_s"] is None
    page = page_of(made)
    assert "there is nothing to draw" in page
    assert "<svg" not in page


@given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=50), st.integers(1, 30))
def test_every_number_is_in_one_bin(values: list[float], bins: int) -> None:
    found = distribution(values, bins)
    assert found is not None
    assert sum(found["counts"]) == found["count"] == len(values)
    assert len(found["edges"]) == bins + 1
    assert found["min"] == min(values) <= found["median"] <= found["p95"] <= found["max"] == max(values)


def test_quantiles_are_interpolated_and_what_is_not_known_does_not_count() -> None:
    assert quantile([1, 2, 3, 4], 0.5) == median([4, 1, 3, 2]) == 2.5
    assert quantile([7], 0.95) == 7
    assert distribution([]) is distribution([None, math.nan, math.inf]) is None


def rows(**speeds: list[float | None]) -> list[dict[str, object]]:
    return [
        {"node": node, "entries_per_s": speed, "throughput_mbs": 1.0} for node, some in speeds.items() for speed in some
    ]


def test_slow_nodes_are_named_with_how_much() -> None:
    (slow,) = slow_nodes(rows(a=[100, 110, 90, 100], b=[95, 105, 100], c=[20, 25, 30]))
    assert (slow["node"], slow["processes"], slow["unit"], slow["median"]) == ("c", 3, "entries/s", 25)
    assert slow["times"] == pytest.approx(slow["whole"] / 25)
    assert slow["times"] > 2


def test_few_processes_and_equal_ones_are_not_slow() -> None:
    assert slow_nodes(rows(a=[100, 100, 100], b=[1, 1])) == []
    assert slow_nodes(rows(a=[100] * 3, b=[60] * 3)) == []
    assert slow_nodes(rows(a=[None, None])) == []


class _Seen(HTMLParser):
    """What a page is made of."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.said = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.said += data


@pytest.fixture
def evil(made: World) -> World:
    """Names and messages that are markup."""
    odd = Evidence(message=f'exit code 1: {EVIL} "quoted" & co', exit_code=1, step="analysis", stderr=EVIL)
    commit(made, f"node{EVIL}")
    fail(made, odd, f"node{EVIL}", 2)
    fail(made, odd, 'x" onload="alert(1)')
    return made


def test_nothing_from_the_catalog_is_markup(evil: World) -> None:
    text = page_of(evil)
    seen = _Seen(text)
    assert "script" not in seen.tags
    assert EVIL in seen.said
    assert not [name for name, _ in seen.attributes if name.startswith("on")]


def test_the_page_needs_nothing_from_anywhere(evil: World) -> None:
    text = page_of(evil)
    seen = _Seen(text)
    assert not {"link", "img", "iframe", "object"} & set(seen.tags)
    addresses = [value for name, value in seen.attributes if name in ("src", "href", "xlink:href")]
    assert all(str(value).startswith("#") for value in addresses)
    assert not re.search(r"url\((?!#)|@import", text)
    assert seen.tags.count("svg") >= 5


def test_plots_keep_to_the_colours_of_the_page_and_share_no_names(evil: World) -> None:
    text = page_of(evil)
    svg = "".join(re.findall(r"<svg.*?</svg>", text, re.DOTALL))
    assert not re.findall(r"#[0-9a-f]{6}\b", svg)
    names = re.findall(r'\bid="([^"]+)"', text)
    assert len(names) == len(set(names))


def test_the_same_report_is_the_same_page(evil: World) -> None:
    view, failed = reporting.performance_of(evil.database, "p"), reporting.failures_of(evil.database, "p")
    assert reporting.page_of(view, failed) == reporting.page_of(view, failed)


def test_names_that_no_font_has_draw_without_a_word(made: World) -> None:
    """Warnings are errors here."""
    commit(made, "узел-節點-\x1b[31m")
    assert "узел-節點" in page_of(made)


def test_a_page_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text("before")
    assert reporting.write_page("after", path) == path
    assert path.read_text() == "after"
    assert [one.name for one in tmp_path.iterdir()] == ["report.html"]


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("none/report.html", "does not exist"),
        (".", "is a folder"),
        ("a\0b", "cannot be written"),
        ("x" * 300, "cannot be written"),
    ],
)
def test_a_page_that_cannot_be_written_says_why(tmp_path: Path, place: str, said: str) -> None:
    with pytest.raises(StorageError, match=said) as caught:
        reporting.write_page("text", tmp_path / place)
    assert caught.value.remedy
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_is_full_leaves_the_page_before(tmp_path: Path) -> None:
    """The limit of the size of a file stands in for the disk."""
    import resource

    path = tmp_path / "report.html"
    path.write_text("before")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(StorageError, match="cannot be written"):
            reporting.write_page("x" * 5000, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_text() == "before"
    assert [one.name for one in tmp_path.iterdir()] == ["report.html"]
