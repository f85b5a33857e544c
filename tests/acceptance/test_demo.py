"""The demonstration: it ends with the proof, on toys and on real files; and the proof can fail."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

import bookkeeper
from bookkeeper.api import Catalog
from bookkeeper.demo import DemoResult, Proof, prove, run
from bookkeeper.demo import data as demo_data
from bookkeeper.errors import NotFound
from bookkeeper.spec import load
from bookkeeper.submit import submit
from rootfiles import real_entries, root_files

pytestmark = pytest.mark.acceptance


class Notes:
    """A show that remembers what was told."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.tables: dict[str, Sequence[Mapping[str, Any]]] = {}
        self.verdicts: list[tuple[bool, str]] = []
        self.seen = 0

    def headline(self, text: str) -> None:
        self.told.append(text)

    def say(self, text: str) -> None:
        self.told.append(text)

    def progress(self, progress: object) -> None:
        self.seen += 1

    def table(self, title: str, rows: Sequence[Mapping[str, Any]]) -> None:
        assert len({tuple(row) for row in rows}) <= 1, "all rows have the same keys"
        self.tables[title] = rows

    def verdict(self, ok: bool, text: str) -> None:
        self.verdicts.append((ok, text))


Told = tuple[Path, DemoResult, Notes]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Told:
    """The story on toys, its folder kept; read only."""
    folder, notes = tmp_path_factory.mktemp("demo"), Notes()
    return folder, run(folder, keep=True, show=notes), notes


def test_every_event_is_proved_once_and_every_fault_happened(told: Told) -> None:
    folder, result, notes = told
    assert (result.proved, result.problems, result.exit_code) == (True, (), 0), result
    assert result.folder == str(folder)
    assert (result.files, result.events) == (demo_data.FILES, demo_data.FILES * demo_data.EVENTS)
    assert result.published_events == result.events - demo_data.EVENTS
    assert len(result.faults) == 5 and all(row["ok"] for row in result.faults)
    assert result.recovery == "demo-recovery-1" and result.rolled_back >= 4
    assert all(ok for ok, _ in notes.verdicts) and "exactly once" in notes.verdicts[-1][1]
    assert notes.seen > 10


def test_parked_file_is_named_with_its_reason_and_the_way_out(told: Told) -> None:
    _, result, notes = told
    (parked,) = result.parked
    assert parked["file"].startswith("zmumu-") and "cannot be read" in parked["reason"]
    assert any(f"project unpark demo {parked['file']}" in line for line in notes.told)
    tables = (notes.tables[title] for title in ("What was rolled back, and why", "What was rolled back since"))
    reasons = [row["reason"] for table in tables for row in table]
    assert any("SIGSEGV" in reason for reason in reasons)
    assert any("its worker ended without a word: killed by signal 9" in reason for reason in reasons)
    assert "lease expired" in reasons
    assert any("truncated" in reason for reason in reasons)


def test_the_same_seed_makes_the_same_events(tmp_path: Path) -> None:
    first, second, other = (demo_data.make_toys(tmp_path / name, seed) for name, seed in (("a", 1), ("b", 1), ("c", 2)))
    assert _mass(first[3]) == _mass(second[3]) != _mass(other[3])


def test_toys_have_the_mass_that_their_muons_have(tmp_path: Path) -> None:
    import numpy
    import uproot

    tree = uproot.open(demo_data.make_toys(tmp_path / "toys", 1)[0])["events"]
    parts = {
        name: tree[f"{name}1"].array(library="np") + tree[f"{name}2"].array(library="np")
        for name in ("E", "px", "py", "pz")
    }
    mass = numpy.sqrt(parts["E"] ** 2 - parts["px"] ** 2 - parts["py"] ** 2 - parts["pz"] ** 2)
    assert numpy.allclose(mass, tree["M"].array(library="np"))
    single = tree["E1"].array(library="np") ** 2 - sum(tree[f"p{axis}1"].array(library="np") ** 2 for axis in "xyz")
    assert numpy.allclose(single, demo_data.MASS_MUON**2, atol=1e-6)


def _mass(path: Path) -> list[float]:
    import uproot

    return list(uproot.open(path)["events"]["M"].array(library="np"))


# -- the proof can fail --------------------------------------------------------------------------------------------


class Tampered:
    """A copy of the outputs that may be spoiled, and the catalog that published them."""

    def __init__(self, told: Told, catalog: Catalog, folder: Path) -> None:
        self.catalog, self.out = catalog, folder
        self.parked = {row["file"] for row in told[1].parked}
        self.entries = {row["name"]: row["entries"] for row in catalog.sql("SELECT name, entries FROM files")}
        self.outputs = sorted(folder.glob("mass-*.root"))

    def proof(self, parked: set[str] | None = None) -> Proof:
        return prove(self.catalog, "demo", self.out, self.entries, self.parked if parked is None else parked)

    def rewrite(self, path: Path, change: Any) -> None:
        """Write an output anew with other events: as a good ROOT file that lies."""
        import uproot

        with uproot.open(path) as file:
            columns, mass = file["events"].arrays(library="np"), file["mass"].to_numpy()
        changed = {name: change(values) for name, values in columns.items()}
        with uproot.recreate(path) as file:
            file["mass"] = mass
            file.mktree("events", {name: values.dtype for name, values in changed.items()}).extend(changed)


@pytest.fixture
def tampered(told: Told) -> Iterator[Tampered]:
    out = told[0] / "out"
    good = told[0].with_name("good")
    shutil.copytree(out, good)
    with bookkeeper.open_catalog(f"sqlite:///{told[0]}/bookkeeper.db") as catalog:
        yield Tampered(told, catalog, out)
    shutil.rmtree(out)
    os.rename(good, out)


def test_proof_holds_of_what_was_published(tampered: Tampered) -> None:
    assert tampered.proof().holds and len(tampered.outputs) == tampered.proof().outputs


def test_one_missing_event_is_noticed(tampered: Tampered) -> None:
    tampered.rewrite(tampered.outputs[0], lambda values: values[:-1])
    (problem,) = tampered.proof().problems
    assert "1 events are missing" in problem


def test_one_double_event_is_noticed(tampered: Tampered) -> None:
    import numpy

    tampered.rewrite(tampered.outputs[0], lambda values: numpy.append(values, values[-1]))
    (problem,) = tampered.proof().problems
    assert "1 events are there more than once" in problem


def test_output_in_the_place_of_another_is_noticed(tampered: Tampered) -> None:
    shutil.copy(tampered.outputs[0], tampered.outputs[1])
    problems = tampered.proof().problems
    assert any("missing" in one for one in problems) and any("more than once" in one for one in problems)


def test_second_copy_under_another_name_is_noticed(tampered: Tampered) -> None:
    shutil.copy(tampered.outputs[0], tampered.out / "mass-999.root")
    (problem,) = tampered.proof().problems
    assert problem.endswith("mass-999.root is visible and was not published")


def test_output_that_is_gone_is_noticed(tampered: Tampered) -> None:
    tampered.outputs[0].unlink()
    problems = tampered.proof().problems
    assert "is not there" in problems[0] and any("missing" in one for one in problems[1:])


def test_output_that_cannot_be_read_is_noticed(tampered: Tampered) -> None:
    os.truncate(tampered.outputs[0], 1000)
    assert "cannot be read" in tampered.proof().problems[0]


def test_event_of_no_file_is_noticed(tampered: Tampered) -> None:
    import numpy

    tampered.rewrite(tampered.outputs[0], lambda values: numpy.append(values, 7))
    (problem,) = tampered.proof().problems
    assert problem == "1 events are of no input file"


def test_events_of_a_parked_file_are_noticed(tampered: Tampered) -> None:
    good = next(name for name in tampered.entries if name not in tampered.parked)
    (problem,) = tampered.proof(tampered.parked | {good}).problems
    assert problem == f"{good}: {demo_data.EVENTS:,} events are there and must not be"


def test_damaged_file_that_was_not_parked_is_noticed(tampered: Tampered) -> None:
    (problem,) = tampered.proof(set()).problems
    assert problem == f"{next(iter(tampered.parked))}: {demo_data.EVENTS:,} events are missing"


# -- data of the user's --------------------------------------------------------------------------------------------


def given(zmumu_folder: Path, folder: Path, count: int) -> Path:
    """A folder of so many files, and one that cannot be declared."""
    folder.mkdir()
    for path in sorted(zmumu_folder.iterdir())[:count]:
        shutil.copy(path, folder)
    (folder / "page.root").write_text("<html>504 Gateway Time-out</html>")
    return folder


def test_few_files_of_the_users_are_only_read_and_the_way_out_leads_out(zmumu_folder: Path, tmp_path: Path) -> None:
    """Fewer files than faults: some bring several. What was typed last on the screen completes the request."""
    data, place = given(zmumu_folder, tmp_path / "given", 3), tmp_path / "demo"
    place.mkdir()
    before = {path.name: path.read_bytes() for path in data.iterdir()}
    result = run(place, data=data, keep=True, show=Notes())
    assert result.proved, result
    assert (result.files, result.published_events) == (4, 1500)
    assert [row["file"] for row in result.unreadable] == ["page.root"]
    assert {path.name: path.read_bytes() for path in data.iterdir()} == before
    (parked,) = (row["file"] for row in result.parked)
    shutil.copy(place / "spare" / parked, place / "damaged")
    with bookkeeper.open_catalog(f"sqlite:///{place}/bookkeeper.db") as catalog:
        project = catalog.project("demo")
        project.unpark([parked])
        assert project.recover() is not None
        assert submit(load(place / "demo.toml"), catalog.database).exit_code == 0
        entries = {row["name"]: row["entries"] for row in catalog.sql("SELECT name, entries FROM files")}
        proof = prove(catalog, "demo", place / "out", entries, set())
    assert proof.holds and proof.events == 2000


def test_one_file_is_enough_and_the_folder_is_removed(zmumu_folder: Path, tmp_path: Path) -> None:
    data, place = given(zmumu_folder, tmp_path / "given", 1), tmp_path / "demo"
    place.mkdir()
    result = run(place, data=data, keep=False, show=Notes())
    assert result.proved, result
    assert (result.files, result.published_events, result.folder) == (2, 500, None)
    assert not place.exists()


@pytest.mark.slow
def test_real_files_end_exactly_once(tmp_path: Path) -> None:
    result = run(tmp_path, data=root_files()[0].parent, keep=True, show=Notes())
    assert result.proved, result
    assert result.files == len(root_files()) + 1 and len(result.parked) == 1
    assert result.published_events == sum(demo_entries(path) for path in root_files())


def demo_entries(path: Path) -> int:
    return sum(real_entries(path).values())


def test_folder_without_root_files_is_refused(tmp_path: Path) -> None:
    given, place = tmp_path / "given", tmp_path / "demo"
    given.mkdir()
    place.mkdir()
    with pytest.raises(NotFound):
        run(place, data=given, keep=False, show=Notes())
