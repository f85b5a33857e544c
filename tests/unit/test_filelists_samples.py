"""Lists of samples in JSON, in the forms that analyses keep them in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bookkeeper.errors import NotFound, UsageError
from bookkeeper.filelists import samples

A, B, C = "root://eos.example.org//store/a.root", "/data/b.root", "/data/c.root"


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / "samples.json"


def read(path: Path, content: Any) -> list[tuple[str, tuple[str, ...], str | None, dict[str, Any]]]:
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return [(one.name, one.files, one.tree, dict(one.metadata)) for one in samples(path)]


def test_a_sample_list(path: Path) -> None:
    found = read(path, {"DY": [A, B, B], "ggH_M125": "sub/c.root"})
    assert found == [
        ("DY", (A, B), None, {"sample": "DY"}),
        ("ggH_M125", (str(path.parent / "sub/c.root"),), None, {"sample": "ggH_M125"}),
    ]


def test_files_beside_what_else_is_known(path: Path) -> None:
    found = read(path, {"DY": {"files": [A], "xs": 6077.2, "process_id": 7, "grouped": None, "systs": ["up"]}})
    assert found == [("DY", (A,), None, {"sample": "DY", "xs": 6077.2, "process_id": 7})]


@pytest.mark.parametrize("inner", [{"2017": [A], "2018": [B, C]}, {"files": {"2017": [A], "2018": [B, C]}}])
def test_a_sample_of_several_years_is_one_for_each(path: Path, inner: Any) -> None:
    assert read(path, {"DY": inner}) == [
        ("DY_2017", (A,), None, {"sample": "DY", "year": "2017"}),
        ("DY_2018", (B, C), None, {"sample": "DY", "year": "2018"}),
    ]


def test_a_fileset_of_coffea(path: Path) -> None:
    plain = {"DY": {"files": {A: "Events", B: "Events"}, "metadata": {"xs": 2}}}
    assert read(path, plain) == [("DY", (A, B), "Events", {"sample": "DY", "xs": 2})]
    new = {"DY": {"files": {A: {"object_path": "Events", "steps": [[0, 5]]}}}}
    assert read(path, new) == [("DY", (A,), "Events", {"sample": "DY"})]


def test_the_description_of_an_analysis_names_its_list_and_the_years(path: Path) -> None:
    lists = path.parent / "lists"
    lists.mkdir()
    (lists / "l.json").write_text(json.dumps({"DY": [A], "Hgg": [B], "QCD": [C]}))
    analysis = {
        "samplejson": "lists/l.json",
        "workflow": "tagger",
        "metaconditions": "Era2017",
        "taggers": [],
        "year": {"DY": ["2022preEE"], "Hgg": "2018", "QCD": ["2017", "2018"]},
        "systematics": {"DY": ["Pileup"]},
    }
    assert [one[3] for one in read(path, analysis)] == [
        {"sample": "DY", "year": "2022preEE"},
        {"sample": "Hgg", "year": "2018"},
        {"sample": "QCD"},
    ]


def test_names_become_those_of_datasets(path: Path) -> None:
    ((name, _, _, metadata),) = read(path, {"/DYto2L/Run3-v1/NANOAODSIM": [A]})
    assert (name, metadata["sample"]) == ("DYto2L-Run3-v1-NANOAODSIM", "/DYto2L/Run3-v1/NANOAODSIM")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "this is no JSON"),
        ("[" * 100_000, "this is no JSON"),
        ("[]", "this is no list of samples"),
        ("{}", "this is no list of samples"),
        ('{"DY": ["a"], "DY": ["b"]}', "'DY' is there twice"),
        ({"DY": []}, "sample 'DY': it has no file"),
        ({"DY": {}}, "sample 'DY': it has no file"),
        ({"DY": {"2017": []}}, "sample 'DY', '2017': it has no file"),
        ({"DY": [1]}, "sample 'DY': its files are no list of texts"),
        ({"DY": 7}, "its files are no list of texts"),
        ({"DY": {"files": 7}}, "its files are no list of texts"),
        ({"DY": [""]}, "its files are no list of texts"),
        ({"***": ["a"]}, "nothing of its name can be the name of a dataset"),
        ({"D Y": ["a"], "D-Y": ["b"]}, "two samples would be called D-Y"),
    ],
)
def test_a_wrong_list_is_told(path: Path, content: Any, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        read(path, content)
    assert said in str(caught.value)
    assert caught.value.remedy


def test_a_list_that_is_not_there(path: Path) -> None:
    with pytest.raises(NotFound, match="there is no list"):
        samples(path)
    with pytest.raises(NotFound, match=r"none\.json"):
        read(path, {"samplejson": "none.json"})
