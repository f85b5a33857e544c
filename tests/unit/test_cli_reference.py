"""The reference pages that are made from the program are current and complete."""

from __future__ import annotations

from pathlib import Path

import pytest

from bookkeeper import errors
from bookkeeper_cli import reference

DOCS = Path(__file__).parents[2] / "docs" / "reference"


@pytest.mark.parametrize("name", ["cli.md", "exit-codes.md"])
def test_page_is_current(name: str) -> None:
    """Made anew by ``python -m bookkeeper_cli.reference docs/reference``."""
    assert (DOCS / name).read_text(encoding="utf-8") == reference.pages()[name]


def test_every_command_and_option_is_in_the_page() -> None:
    page = reference.command_page()
    for path, command in reference.commands():
        section = page.partition(f"## `{path}`\n")[2].partition("\n## ")[0]
        for param in command.params:
            for name in param.opts if param.param_type_name == "option" else [param.metavar]:
                assert name.replace("|", "\\|") in section, (path, name)
            assert param.help, (path, param.name)


def test_every_error_is_in_the_page_with_its_code() -> None:
    page = reference.exit_code_page()
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    for kind in kinds:
        assert f"| {kind.exit_code} | `{kind.__name__}` |" in page  # type: ignore[attr-defined]
