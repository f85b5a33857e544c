"""What a spec says of failures, notifications, plug-ins and memory: read whole, and every fault told."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from bookkeeper.errors import SpecError
from bookkeeper.failures import FailureCategory
from bookkeeper.plugins.notify import targets
from bookkeeper.retries import policies_of
from specs import GOOD, faults, read

RETRY = """
[retry]
identical = 5
exclude = "2h"
[retry.transient_io]
max_retries = 10
base_delay = "5s"
backoff_factor = 3
[retry.unknown]
base_delay = 0
jitter = false
"""

PLUGIN = """
from bookkeeper.plugins import hookimpl

@hookimpl
def bookkeeper_validators():
    return {"histograms": lambda path, expect: None}

@hookimpl
def bookkeeper_executors():
    return {"cluster": object}
"""


def test_only_what_is_said_of_retries_is_kept(tmp_path: Path) -> None:
    policy = read(tmp_path, GOOD + RETRY).policy()
    assert policy == {
        "retry": {
            "transient_io": {"max_retries": 10, "base_delay": 5.0, "backoff_factor": 3.0},
            "unknown": {"base_delay": 0.0, "jitter": False},
        },
        "brake": {"identical": 5, "exclude": 7200.0},
    }
    policies = policies_of(policy)
    assert policies[FailureCategory.TRANSIENT_IO].max_retries == 10
    assert policies[FailureCategory.UNKNOWN].base_delay == 0
    assert read(tmp_path, GOOD).policy() is None


def test_rules_of_the_user_are_kept_as_data(tmp_path: Path) -> None:
    (tmp_path / "my-rules.toml").write_text(
        '[[rule]]\nid = "our-calibration"\ncategory = "configuration"\nconfidence = 0.9\nremedy = "update the tag"\n'
        'text = "no calibration for run"\n'
    )
    policy = read(tmp_path, GOOD + '[retry]\nrules = "my-rules.toml"\n').policy()
    assert policy is not None and [rule["id"] for rule in policy["rules"]] == ["our-calibration"]


def test_notifications_are_read_and_never_shown(tmp_path: Path) -> None:
    spec = read(
        tmp_path,
        GOOD + '[[notify]]\non = ["complete"]\nurl = "json://me:hunter2@localhost/x"\n'
        '[[notify]]\non = ["parked", "braked"]\nurl_env = "CHAT"\ntitle = "ours"\n'
        '[[notify]]\non = ["plugin"]\nurl_file = "secret"\n',
    )
    first, second, third = spec.notifications()
    assert first.on == ("complete",) and first.url == "json://me:hunter2@localhost/x"
    assert (second.url_env, second.title) == ("CHAT", "ours") and third.url_file == str(tmp_path / "secret")
    assert "hunter2" not in f"{spec!r}{spec.model_dump_json()}{first!r}{targets([first], {})!r}"
    assert [one.name for one in targets([first, second, third, first], {})] == ["json", "CHAT", "secret", "json#2"]


def test_plugins_bring_validators_and_executors(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(PLUGIN)
    text = GOOD.replace('validate = "deep"', 'validate = "histograms"').replace('kind = "local"', 'kind = "cluster"')
    spec = read(tmp_path, text + '[plugins]\nmodules = ["mine.py"]\n')
    assert spec.process().outputs[0].validate == "histograms"
    assert spec.process().plugins == (str(tmp_path / "mine.py"),)
    assert spec.executor.kind == "cluster" and sorted(spec.loaded.validators()) == ["histograms"]


def test_memory_is_read(tmp_path: Path) -> None:
    spec = read(tmp_path, GOOD + 'memory = "2GB"\nmax_memory = "8GB"\n')
    assert (spec.executor.memory, spec.executor.max_memory) == (2 * 10**9, 8 * 10**9)
    assert spec.process().memory_mb == 2 * 10**9 / 2**20 and read(tmp_path, GOOD).process().memory_mb is None


CHANGES = [
    ("[retry]\nidentical = -1", "21: retry.identical: must be 0 or more, not -1"),
    ("[retry]\nidenticle = 1", "21: retry.identicle: unknown key; did you mean identical? allowed: identical, node_failures"),
    ("[retry.transient]\nmax_retries = 1", "20: retry.transient: unknown key; did you mean transient_io?"),
    ("[retry.transient_io]\nretries = 1", "21: retry.transient_io.retries: unknown key; did you mean max_retries?"),
    ('[retry.transient_io]\nbase_delay = "soon"', "21: retry.transient_io.base_delay: 'soon' is no length of time"),
    ("[retry.unknown]\nbackoff_factor = 0.5", "21: retry.unknown.backoff_factor: must be 1"),
    ('[retry.unknown]\njitter = "no"', "21: retry.unknown.jitter: must be true or false, not 'no'"),
    ('[retry]\nrules = "nowhere.toml"', "21: retry.rules: "),
    ('[[notify]]\non = ["complete"]', "20: notify[1]: needs exactly one of url_env"),
    ('[[notify]]\non = ["finished"]\nurl_env = "X"', "21: notify[1].on: nobody is told of 'finished'; allowed: complete, parked"),
    ('[[notify]]\non = []\nurl_env = "X"', "21: notify[1].on: must not be empty"),
    ('[[notify]]\nurl_env = "X"', "20: notify[1].on: is missing"),
    ('[[notify]]\non = ["ended"]\nurl = ["json://hunter2"]', "22: notify[1].url: must be a text"),
    ('[[notify]]\non = ["ended"]\nurl_env = "${X}"', "22: notify[1].url_env: has a character that cannot be"),
    ('[[notify]]\non = ["ended"]\nur = "json://hunter2"', "22: notify[1].ur: unknown key; did you mean url?"),
    ('[plugins]\nmodules = ["absent.py"]', "21: plugins.modules[1]: "),
    ('[plugins]\nmodules = ["no.such.module"]', "21: plugins.modules[1]: no.such.module cannot be imported: ModuleNotFoundError"),
    ('[plugins]\nmodule = ["a"]', "21: plugins.module: unknown key; did you mean modules?"),
    ('memory = "much"', "20: executor.memory: 'much' is no size"),
    ('memory = "2GB"\nmax_memory = "1GB"', "17: executor: max_memory is less than memory"),
]  # fmt: skip


@pytest.mark.parametrize(("added", "said"), CHANGES, ids=[added[:40] for added, _ in CHANGES])
def test_every_fault_names_line_key_and_what_is_allowed(tmp_path: Path, added: str, said: str) -> None:
    told = faults(tmp_path, GOOD + added + "\n")
    assert len(told) == 1 and told[0].startswith(said), told
    assert "hunter2" not in told[0]


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import numpy\n\nraise ValueError('not\\ntoday')", "line 3: ValueError: not today"),
        ("def f(:\n", "line 1: SyntaxError"),
        ("import sys; sys.exit(3)", "line 1: SystemExit: 3"),
        ("x = 1", "has no hook"),
        (
            "from bookkeeper.plugins import hookimpl\n@hookimpl\ndef bookkeeper_evnt(event): pass",
            "its hooks are not as they should be: unknown hook 'bookkeeper_evnt'; there are bookkeeper_event, bookkeeper_classify,",
        ),
        (
            "from bookkeeper.plugins import hookimpl\n@hookimpl\ndef bookkeeper_event(evt): pass",
            "its hooks are not as they should be",
        ),
        (
            "from bookkeeper.plugins import hookimpl\n@hookimpl\ndef bookkeeper_validators(): return 1 / 0",
            "plug-in mine: bookkeeper_validators: ZeroDivisionError",
        ),
    ],
)
def test_module_that_is_no_plugin_is_told_in_a_line(tmp_path: Path, source: str, said: str) -> None:
    (tmp_path / "mine.py").write_text(source)
    (told,) = faults(tmp_path, GOOD + '[plugins]\nmodules = ["mine.py"]\n')
    assert said in told and "Traceback" not in told, told


def test_validator_that_nobody_offers_is_told_with_those_offered(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(PLUGIN)
    text = GOOD.replace('validate = "deep"', 'validate = "histogram"') + '[plugins]\nmodules = ["mine.py"]\n'
    assert faults(tmp_path, text) == [
        '14: output.validate: must be "deep", "quick" or { command = ["check", "{path}"] }, or a validator of a plug-in'
        " (histograms), not 'histogram'"
    ]


def test_all_faults_of_a_file_of_rules_are_told(tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text('[[rule]]\nid = "x"\n')
    with pytest.raises(SpecError) as caught:
        read(tmp_path, GOOD + textwrap.dedent('[retry]\nrules = "r.toml"\n'))
    lines = str(caught.value).splitlines()
    assert lines and all("spec.toml:21: retry.rules: " in line and "r.toml" in line for line in lines)
