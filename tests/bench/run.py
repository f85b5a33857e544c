"""Run the benchmarks beside this file: print a table of ratios, write them to ``results/latest.json``."""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from measure import Row, show, write  # noqa: E402  (found beside this file)


def main() -> int:
    names = sorted(path.stem.removeprefix("bench_") for path in HERE.glob("bench_*.py"))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", action="append", metavar="NAME", help=f"one of: {', '.join(names) or 'none yet'}")
    parser.add_argument("--strict", action="store_true", help="exit 1 when a bound is missed")
    parser.add_argument("--json", type=Path, default=HERE / "results" / "latest.json", help="where the rows go")
    options = parser.parse_args()
    unknown = set(options.only or ()) - set(names)
    if unknown:
        parser.error(f"no benchmark is called {', '.join(sorted(unknown))}; there are: {', '.join(names)}")

    rows: list[Row] = []
    try:
        for name in options.only or names:
            print(f"{name} …", file=sys.stderr, flush=True)
            rows.extend(importlib.import_module(f"bench_{name}").rows())
            write(rows, options.json)
    finally:
        show(rows)
    return int(options.strict and not all(row.ok for row in rows))


if __name__ == "__main__":
    sys.exit(main())
