"""The runner of the documentation's code blocks notices when a page is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from sybil import Document

from docblocks import WORKSPACE, Workspace, blocks, commands, matches, parse, run


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    folder = tmp_path / "work"
    folder.mkdir()
    return Workspace(folder)


def outcomes(workspace: Workspace, page: str) -> list[str | None]:
    """What each block of a page says when it is run: nothing, or what went wrong."""
    document = Document(page, str(workspace.folder / "page.md"))
    document.namespace[WORKSPACE] = workspace
    for region in parse(document):
        document.add(region)
    return [run(example) for example in document.examples()]


def test_blocks_are_found_also_in_directives_and_lists() -> None:
    page = """
:::{note}
```python
one
```
:::
````{warning}
```console
$ two
```
````
* item

  ~~~sh
  three
    four
  ~~~

```{code-block} toml
five
```
```{toctree}
not code
```
"""
    found = [(block.language, block.source) for block in blocks(page)]
    assert found == [
        ("python", "one\n"),
        ("console", "$ two\n"),
        ("sh", "three\n  four\n"),
        ("toml", "five\n"),
    ]


def test_comment_belongs_to_the_next_block_only() -> None:
    page = (
        "% file: a.toml\n\n```toml\n```\n```toml\n```\n<!-- norun: because -->\n```c\n```\n% file: b\ntext\n```c\n```\n"
    )
    assert [(block.file, block.norun) for block in blocks(page)] == [
        ("a.toml", ""),
        ("", ""),
        ("", "because"),
        ("", ""),
    ]


def test_unclosed_block_is_an_error() -> None:
    with pytest.raises(ValueError, match="line 2"):
        list(blocks("text\n```python\nx = 1\n"))


def test_commands_and_their_output_are_told_apart() -> None:
    source = "$ one \\\n    two\nsaid\n$ cat <<E\n> text\n> E\n$ three\n"
    assert list(commands(source)) == [("one \\\n    two", "said"), ("cat <<E\ntext\nE", ""), ("three", "")]


@pytest.mark.parametrize(
    ("expected", "printed", "same"),
    [
        ("a  \nb", "a\nb   \n", True),
        ("a ... c", "a long b c", True),
        ("a ... c", "a\nc", False),
        ("...\nc", "c", True),
        ("a\n...\nc", "a\n1\n2\nc\n", True),
        ("a\n...", "a\n1\n2", True),
        ("a", "a\nb", False),
        ("a.c", "abc", False),
    ],
)
def test_output_is_compared_line_by_line(expected: str, printed: str, same: bool) -> None:
    assert matches(expected, printed) is same


@pytest.mark.parametrize(
    ("page", "wrong"),
    [
        ("```console\n$ false\n```\n", "exit code 1, the page says 0"),
        ("```console\n$ true  # exit 3\n```\n", "exit code 0, the page says 3"),
        ("```console\n$ echo yes\nno\n```\n", "it printed:\nyes"),
        ("```python\n>>> 1 + 1\n3\n```\n", "Expected:"),
        ("```toml\n```\n", "must say what it is"),
        ("```\nx\n```\n", "must say what it is"),
    ],
)
def test_wrong_page_is_noticed(workspace: Workspace, page: str, wrong: str) -> None:
    (outcome,) = outcomes(workspace, page)
    assert outcome is not None
    assert wrong in outcome


def test_page_is_one_story(workspace: Workspace) -> None:
    page = """
% file: sub/run.sh
```bash
echo "got $X"; exit 3
```
```console
$ export X=5; cd sub
```
```console
$ ./run.sh  # exit 3
got 5
```
```python
from pathlib import Path
here = sorted(path.name for path in Path().iterdir())
```
```python
>>> here
['sub']
```
```text
anything
```
"""
    assert outcomes(workspace, page) == [None] * 5
