"""Let `python -m processor` be the command."""

from processor.cli import main

main()
