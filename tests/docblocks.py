"""The code blocks of the documentation, as tests.

A page is a story in one working folder, which starts with real ROOT files in ``data/``. Its blocks run in order:

========================  ==============================================================================================
``python``                is executed; the names it makes stay for the later blocks of the page. With ``>>>`` it is a
                          doctest
``console``               every ``$ command`` is run by bash, must exit 0 (or with the code that a closing ``# exit 3``
                          names), and must print the lines that follow, if there are any. A line ``...`` stands for any
                          lines, ``...`` in a line for anything. Variables and ``cd`` last until the end of the page
``sql``                   is given to ``bookkeeper sql`` and must be accepted
``text``, ``mermaid``     are only shown
anything else             must say in a comment line right before it what it is
========================  ==============================================================================================

The comments are ``% file: NAME`` (the block is written to that file; shell scripts become executable) and
``% norun: REASON`` (the block is only shown). README.md, which others than Sphinx render, says ``<!-- file: NAME -->``.
"""

from __future__ import annotations

import contextlib
import doctest
import functools
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sybil import Document, Example, Region, Sybil

from services import AT_END
from toys import make_zmumu

SHOWN_ONLY = {"text", "mermaid"}
TIMEOUT = 900  # seconds a command may take
WORKSPACE = "__workspace__"

_FENCE = re.compile(r"^(?P<indent>[ \t]*)(?P<fence>`{3,}|~{3,}|:{3,})[ \t]*(?P<info>.*?)[ \t]*$")
_COMMENT = re.compile(r"^[ \t]*(?:%|<!--)[ \t]*(?P<key>file|norun):[ \t]*(?P<value>.*?)[ \t]*(?:-->)?$")
_CODE_DIRECTIVE = re.compile(r"^\{(?:code-block|code|sourcecode)\}[ \t]*(?P<language>\S+)")
_EXIT = re.compile(r"#\s*exit\s+(?P<code>\d+)\s*$")


@dataclass
class Block:
    """A fenced block of code: its language, its text, its place, and what the comment before it says."""

    language: str
    source: str
    start: int
    end: int
    line: int
    file: str = ""
    norun: str = ""


def blocks(text: str) -> Iterator[Block]:
    """Find the code blocks of a MyST document, also those inside directives such as notes."""
    directives: list[str] = []
    opened: tuple[Block, str, str] | None = None
    body: list[str] = []
    said: dict[str, str] = {}
    position = 0
    for number, line in enumerate(text.splitlines(keepends=True), start=1):
        match = _FENCE.match(line.rstrip("\n"))
        if opened:
            block, fence, indent = opened
            if match and not match["info"] and match["fence"].startswith(fence):
                block.source = "".join(row.removeprefix(indent) for row in body)
                block.end = position + len(line)
                yield block
                opened = None
            else:
                body.append(line)
        elif match:
            info, fence = match["info"], match["fence"]
            code = _CODE_DIRECTIVE.match(info)
            if not info and directives and fence.startswith(directives[-1]):
                directives.pop()
            elif info.startswith("{") and not code:
                directives.append(fence)
            elif fence[0] != ":":
                language = code["language"] if code else info.split(" ")[0]
                opened, body = (Block(language, "", position, position, number, **said), fence, match["indent"]), []
            said = {}
        elif comment := _COMMENT.match(line.rstrip("\n")):
            said[comment["key"]] = comment["value"]
        elif line.strip():
            said = {}
        position += len(line)
    if opened:
        raise ValueError(f"the code block that begins in line {opened[0].line} is never closed")


def parse(document: Document) -> Iterator[Region]:
    """Give Sybil the blocks that do something."""
    for block in blocks(document.text):
        if not block.norun and (block.file or block.language not in SHOWN_ONLY):
            yield Region(block.start, block.end, parsed=block, evaluator=run)


def run(example: Example) -> str | None:
    """Run one block; the answer is what went wrong."""
    block: Block = example.parsed
    workspace: Workspace = example.namespace[WORKSPACE]
    if block.file:
        return workspace.write(block)
    if block.language in ("python", "pycon"):
        return workspace.python(block, example.namespace, example.path)
    if block.language == "console":
        return workspace.console(block.source)
    if block.language == "sql":
        code, printed = workspace.bash(f"bookkeeper sql {shlex.quote(block.source.strip())}")
        return None if code == 0 else f"exit code {code}; it printed:\n{printed}"
    return (
        f"a block in {block.language or 'no language'} must say what it is in a line before it: "
        "`% file: NAME` or `% norun: REASON`"
    )


class Workspace:
    """The working folder of one page, and the shell that its ``console`` blocks share."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state = folder.with_name(folder.name + ".shell")
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("BOOKKEEPER_", "PYTEST_"))},
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "LC_ALL": "C.UTF-8",
            "COLUMNS": "100",
            "NO_COLOR": "1",
            "TERM": "dumb",
            "XDG_CACHE_HOME": str(folder.parent / "cache"),
        }
        self.state.write_text(f"cd {shlex.quote(str(folder))}\n")

    def write(self, block: Block) -> None:
        """Write the block to the file that its comment names."""
        path = self.folder / block.file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.source, encoding="utf-8")
        if block.language in ("bash", "sh") or block.source.startswith("#!"):
            path.chmod(0o755)

    def python(self, block: Block, namespace: dict[str, Any], path: str) -> str | None:
        """Execute the block in the page's namespace, with the page's folder as the working folder."""
        with contextlib.chdir(self.folder):
            if block.source.lstrip().startswith(">>>"):
                test = doctest.DocTestParser().get_doctest(block.source, namespace, path, path, block.line)
                test.globs = namespace
                said: list[str] = []
                doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test, out=said.append, clear_globs=False)
                return "".join(said) or None
            exec(compile("\n" * block.line + block.source, path, "exec", dont_inherit=True), namespace)
        return None

    def console(self, source: str) -> str | None:
        """Run the commands of a block one by one, until one does not do what the page says."""
        for command, expected in commands(source):
            code, printed = self.bash(command)
            exit_comment = _EXIT.search(command)
            wanted = int(exit_comment["code"]) if exit_comment else 0
            if code != wanted:
                return f"$ {command}\nexit code {code}, the page says {wanted}; it printed:\n{printed}"
            if expected and not matches(expected, printed):
                return f"$ {command}\nthe page says:\n{expected}\nit printed:\n{printed}"
        return None

    def bash(self, command: str) -> tuple[int, str]:
        """Run a command where the last one left off; return its exit code and all that it printed."""
        state = shlex.quote(str(self.state))
        keep = f"{{ export -p; printf 'cd %q\\n' \"$PWD\"; }} >{state}"
        done = subprocess.run(
            ["bash", "-c", f"source {state}\ntrap {shlex.quote(keep)} EXIT\n{command}\n"],
            env=self.environment,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
        return done.returncode, done.stdout


def commands(source: str) -> Iterator[tuple[str, str]]:
    """Split a ``console`` block into commands and the output that the page shows for each."""
    command: list[str] = []
    output: list[str] = []
    for line in source.splitlines():
        goes_on = bool(command) and not output and (command[-1].endswith("\\") or line.startswith("> "))
        if line.startswith("$ "):
            if command:
                yield "\n".join(command), "\n".join(output)
            command, output = [line[2:]], []
        elif goes_on:
            command.append(line.removeprefix("> "))
        elif not command:
            raise ValueError(f"a console block begins with `$ command`, not with {line!r}")
        else:
            output.append(line)
    if command:
        yield "\n".join(command), "\n".join(output)


def matches(expected: str, printed: str) -> bool:
    """Tell whether the printed text is what the page shows; spaces at the ends of lines do not count."""
    pattern = ""
    for line in expected.strip().splitlines():
        if line.strip() == "...":
            pattern += r"(?:[^\n]*\n)*?"
        else:
            pattern += r"[^\n]*".join(re.escape(part) for part in line.rstrip().split("...")) + r"\n"
    lines = [line.rstrip() for line in printed.strip().splitlines()]
    return re.fullmatch(pattern, "\n".join(lines) + "\n") is not None


@functools.cache
def _root_files() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="bookkeeper-data-"))
    AT_END.callback(shutil.rmtree, folder, ignore_errors=True)
    make_zmumu(folder)
    return folder


def _open_page(namespace: dict[str, Any]) -> None:
    folder = Path(tempfile.mkdtemp(prefix="bookkeeper-page-")).resolve() / "work"
    shutil.copytree(_root_files(), folder / "data")
    namespace[WORKSPACE] = Workspace(folder)
    namespace["__name__"] = "__main__"


def _close_page(namespace: dict[str, Any]) -> None:
    workspace: Workspace = namespace[WORKSPACE]
    namespace.clear()
    shutil.rmtree(workspace.folder.parent, ignore_errors=True)


def collect_documents(root: Path) -> Callable[[Path, Any], Any]:
    """The pytest hook that collects README.md and docs/ of the repository in ``root``."""
    docs = root / "docs"
    collect = Sybil([parse], path=str(root), pattern="*.md", setup=_open_page, teardown=_close_page).pytest()

    def pytest_collect_file(file_path: Path, parent: Any) -> Any:
        page = file_path == root / "README.md" or docs in file_path.parents
        return collect(file_path, parent) if page else None

    return pytest_collect_file
