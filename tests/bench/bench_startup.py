"""What a command costs before it does anything, against the smallest typer program."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from catalogs import make_catalog, make_project
from measure import Row, medians, seconds

HELLO = """
import typer
app = typer.Typer()
@app.command()
def hello(name: str = "world") -> None:
    typer.echo(f"hello {name}")
app()
"""

TYPER_AND_RICH = "import typer, rich.console"

ROUNDS = 15


def rows() -> Iterator[Row]:
    """Whole processes, from fork to exit."""
    with tempfile.TemporaryDirectory(prefix="bookkeeper-startup-") as name:
        folder = Path(name)
        (folder / "hello.py").write_text(HELLO)
        catalog = make_catalog(folder / "bookkeeper.db")
        make_project(catalog, "bench", 1000)
        catalog.close()
        command = str(Path(sys.executable).with_name("bookkeeper"))

        def run(*words: str) -> Callable[[], float]:
            return lambda: seconds(lambda: subprocess.run(words, cwd=folder, check=True, stdout=subprocess.DEVNULL))

        found = medians(
            {
                "hello": run(sys.executable, "hello.py"),
                "status": run(command, "status", "bench"),
                "typer": run(sys.executable, "-c", TYPER_AND_RICH),
                "version": run(command, "--version"),
                "import": run(sys.executable, "-c", "import bookkeeper"),
            },
            ROUNDS,
        )
    yield Row("bookkeeper status", found["status"] / found["hello"], "a typer hello world", 1.5, "lower")
    yield Row("bookkeeper --version", found["version"] / found["typer"], "importing typer and rich", 1.0, "lower")
    yield Row("import bookkeeper", found["import"] / found["typer"], "importing typer and rich", 1.0, "lower")


if __name__ == "__main__":
    import measure

    measure.show(rows())
