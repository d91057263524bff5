"""The benchmarks are scripts beside each other: they import each other by their bare names."""

import sys
from pathlib import Path

FOLDER = str(Path(__file__).resolve().parent.parent.parent / "benchmarks")
if FOLDER not in sys.path:
    sys.path.append(FOLDER)
