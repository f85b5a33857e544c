"""Every code block of README.md and of the pages in docs/ is run; see tests/docblocks.py for how."""

from pathlib import Path

import pytest

HERE = Path(__file__).parent

# What the tests share asserts, too: a failure there shows the values as it does in a test.
HELPERS = {path.stem for path in (HERE / "tests").glob("*.py")} - {"conftest"}
pytest.register_assert_rewrite(*sorted(HELPERS), "services")

from docblocks import collect_documents  # noqa: E402

pytest_collect_file = collect_documents(HERE)
