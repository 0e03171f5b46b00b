"""`python -m runner.cli` is `outrider`."""

from runner.cli import main

main()
