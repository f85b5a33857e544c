"""Run the model: ``python tests/model/run.py [--list] [--small] [NAME…]``."""

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # the package, not its modules one by one
    from model.command import main

    sys.exit(main(sys.argv[1:]))
