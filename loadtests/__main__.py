"""`python -m loadtests`: an order on standard input; on standard output a line of JSON each second, and the report at the end.

`python -m loadtests --worker HOST PORT` serves a master instead. Importing Locust patches the standard library: this process is
its own, and nothing of the runner runs in it.
"""

from __future__ import annotations

import locust  # isort: skip  # noqa: F401 - first: it patches what the others import

import logging
import sys

from loadtests.conductor import Conductor
from loadtests.order import order_from
from loadtests.result import RunMessage, as_line
from loadtests.worker import work


def main() -> int:
    """Exit 0 whatever the verdict, which is in the report; 2 for an order that can't be carried out."""
    logging.basicConfig(level=logging.ERROR)
    if sys.argv[1:2] == ["--worker"]:
        work(sys.argv[2], int(sys.argv[3]))
        return 0
    try:
        conductor = Conductor(order_from(sys.stdin.read()), lambda progress: _print(RunMessage(progress=progress)))
        _print(RunMessage(report=conductor.run()))
    except ValueError as error:
        print(error, file=sys.stderr)  # noqa: T201 - a message to whoever started it
        return 2
    return 0


def _print(message: RunMessage) -> None:
    print(as_line(message), flush=True)  # noqa: T201 - what it is for


if __name__ == "__main__":
    sys.exit(main())
