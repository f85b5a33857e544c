"""Rules of one's own: layered above those shipped, and refused with words where they are wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bookkeeper.errors import SpecError
from bookkeeper.failures import Rules, classify_failure, default_rules, explain_failure, load_rules

MINE = """\
[[rule]]
id = "calibration-missing"
category = "configuration"
confidence = 0.95
text = ["calibration .* is not there"]
remedy = "fetch the calibration"

[[rule]]
id = "segfault"                       # in place of the shipped one
category = "corrupted_input"
text = ["segmentation violation"]
remedy = "our files crash the reader"

[[rule]]
id = "code-40"
category = "executor"
exit_code = [40, "42..44"]
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_own_rules_lie_above_those_shipped(tmp_path: Path) -> None:
    rules = load_rules(write(tmp_path, MINE))
    told = explain_failure(stderr="FATAL: calibration muon-7 is not there", rules=rules)
    assert (told.category, told.rule, told.remedy) == ("configuration", "calibration-missing", "fetch the calibration")
    assert classify_failure(stderr=" *** Break *** segmentation violation", rules=rules) == "corrupted_input"
    assert classify_failure(stderr=" *** Break *** segmentation violation") == "analysis_crash"
    assert [classify_failure(exit_code=code, rules=rules) for code in (40, 41, 43)] == [
        "executor",
        "unknown",
        "executor",
    ]
    assert classify_failure(stderr="not a ROOT file", rules=rules) == "corrupted_input"


def test_of_equal_confidence_the_own_rule_speaks() -> None:
    shipped = explain_failure(stderr="NameError: name 'x' is not defined")
    own = {"id": "mine", "category": "executor", "confidence": shipped.confidence, "text": "is not defined"}
    assert explain_failure(stderr="NameError: name 'x' is not defined", rules=Rules.from_list([own])).rule == "mine"
    less = {**own, "confidence": shipped.confidence - 0.1}
    assert explain_failure(stderr="NameError: name 'x' is not defined", rules=Rules.from_list([less])).rule != "mine"


def test_own_rules_are_kept_as_plain_data(tmp_path: Path) -> None:
    rules = load_rules(write(tmp_path, MINE))
    kept = json.loads(json.dumps(rules.as_list()))
    again = Rules.from_list(kept)
    assert again.as_list() == kept and len(kept) == 3
    assert classify_failure(exit_code=40, rules=again) == "executor"
    assert default_rules().rules and not Rules.from_list([]).as_list()


def test_every_condition_must_hold() -> None:
    rules = Rules.from_list([
        {
            "id": "mine",
            "category": "executor",
            "confidence": 0.99,
            "exception": ["OddError"],
            "text": ["slot \\d+"],
            "unless": ["slot 13"],
            "step": ["analysis"],
            "exit_code": [7],
            "hold_code": ["1..5"],
            "hold_subcode": [0],
            "state": ["FAILED"],
            "signal": ["SIGUSR1", 12],
        }
    ])  # fmt: skip
    whole = {"exit_code": 7, "hold_code": 3, "hold_subcode": 0, "state": "FAILED", "step": "analysis", "signal": 12}
    log = "pkg.OddError: slot 12 is closed"
    assert explain_failure(stderr=log, rules=rules, **whole).rule == "mine"  # type: ignore[arg-type]
    for key in whole:
        part = {**whole, key: None}
        assert explain_failure(stderr=log, rules=rules, **part).rule != "mine", key  # type: ignore[arg-type]
    for other in ("pkg.OddError: closed", "OtherError: slot 12", "pkg.OddError: slot 13"):
        assert explain_failure(stderr=other, rules=rules, **whole).rule != "mine", other  # type: ignore[arg-type]


def test_own_lines_of_noise_doubt_and_recovery() -> None:
    rules = Rules.from_list([
        {"id": "chatter", "role": "noise", "text": ["^chatter: "]},
        {"id": "maybe", "role": "doubtful", "text": ["^maybe: "]},
        {"id": "saved", "role": "recovery", "text": ["^saved the day"]},
    ])  # fmt: skip
    sure = explain_failure(stderr="[ERROR] Operation expired").confidence
    assert explain_failure(stderr="chatter: [ERROR] Operation expired", rules=rules).rule == "unknown"
    assert explain_failure(stderr="maybe: [ERROR] Operation expired", rules=rules).confidence == sure / 2
    assert explain_failure(stderr="[ERROR] Operation expired\nsaved the day", rules=rules).confidence == sure / 2


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[[rule]\n", ["mine.toml:1: no valid TOML"]),
        ("[rules]\n", ["unknown key 'rules'", "[[rule]]"]),
        ("rule = 3\n", ["[[rule]]"]),
        ('\n[[rule]]\nid = "a"\ncategory = "executor"\n', ["mine.toml:2: rule a: has no condition"]),
        ('[[rule]]\ncategory = "executor"\ntext = "x"\n', ["mine.toml:1: rule 1: id: is missing"]),
        ('[[rule]]\nid = "a"\ntext = "x"\n', ["rule a: category: is missing"]),
        ('[[rule]]\nid = "a"\ncategory = "executer"\ntext = "x"\n', ["did you mean executor?"]),
        ('[[rule]]\nid = "a"\ncategory = "executor"\ntext = "(x"\n', ["rule a: text: is no regular expression: '(x'"]),
        ('[[rule]]\nid = "a"\ncategory = "executor"\ntext = "x*"\n', ["matches every line"]),
        ('[[rule]]\nid = "a"\ncategory = "executor"\ntext = []\n', ["rule a: text: must not be empty"]),
        ('[[rule]]\nid = "a"\ncategory = "executor"\ntxt = "x"\n', ["rule a: txt: unknown key; did you mean text?"]),
        ('[[rule]]\nid = "a"\ncategory = "executor"\ntext = "x"\nconfidence = 3\n', ["from 0 to 1"]),
        ('[[rule]]\nid = "a"\ncategory = "executor"\nsignal = "SIGNONE"\n', ["there is no signal 'SIGNONE'"]),
        ('[[rule]]\nid = "a"\ncategory = "executor"\nexit_code = "9..3"\n', ['"60300..60399"']),
        ('[[rule]]\nid = "a"\ncategory = "executor"\nstep = "anlysis"\n', ["did you mean analysis?"]),
        ('[[rule]]\nid = "a"\nrole = "reason"\ncategory = "executor"\ntext = "x"\n', ["there is no 'reason'"]),
        (
            '[[rule]]\nid = "a"\ncategory = "executor"\ntext = "x"\n' * 2,
            ["mine.toml:5: rule a: there are two of this id"],
        ),
        (
            '[[rule]]\nid = "a b"\ncategory = "executor"\ntext = "x"\nremedy = 3\n',
            ["id: must be a name", "remedy: must be"],
        ),
    ],
)
def test_what_is_wrong_is_said_with_file_line_and_rule(tmp_path: Path, text: str, words: list[str]) -> None:
    with pytest.raises(SpecError) as caught:
        load_rules(write(tmp_path, text))
    for word in ("mine.toml", *words):
        assert word in str(caught.value)
    assert caught.value.remedy


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"none\.toml: cannot be read"):
        load_rules(tmp_path / "none.toml")
    (tmp_path / "latin.toml").write_bytes(b"\xe9")
    with pytest.raises(SpecError, match="UTF-8"):
        load_rules(tmp_path / "latin.toml")


def test_kept_rules_that_are_wrong_are_refused() -> None:
    with pytest.raises(SpecError, match="rule a: category"):
        Rules.from_list([{"id": "a", "category": "none", "text": "x"}])
    with pytest.raises(SpecError, match="no table"):
        Rules.from_list(["a"])  # type: ignore[list-item]


@pytest.mark.parametrize("text", ["(a+)+b", r"(\w+\s*)+$", "(?:.*)*x", "x(?:y(?:z+)+)+", "x((a+)*b?)+"])
def test_rule_that_may_take_for_ever_is_refused(text: str) -> None:
    with pytest.raises(SpecError, match="may take for ever"):
        Rules.from_list([{"id": "x", "category": "unknown", "text": text}])


@pytest.mark.parametrize("text", [r"(?:\w+ )+x", "a+b+", "(?:ab)+", r"(?:/[^/\s]+)+: denied"])
def test_rule_whose_repetitions_are_held_apart_is_taken(text: str) -> None:
    assert Rules.from_list([{"id": "x", "category": "unknown", "text": text}])
