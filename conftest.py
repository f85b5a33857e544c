"""Every code block of README.md and of the pages in docs/ is run; see tests/docblocks.py for how."""

from pathlib import Path

from docblocks import collect_documents

pytest_collect_file = collect_documents(Path(__file__).parent)
