"""Plain Locust: FastHttpUsers that ask again as soon as they are answered. Prints requests and CPU seconds as JSON.

python benchmarks/_plain_locust.py URL SECONDS USERS
"""

from __future__ import annotations

from locust import FastHttpUser, task  # isort: skip - first: it patches what the others import
from locust.env import Environment  # isort: skip

import json
import sys
import time

import gevent


class Plain(FastHttpUser):
    """One task, no wait, nothing else."""

    @task
    def ask(self) -> None:
        """One GET, checked as Locust checks it: by its status."""
        self.client.get("/page")


def main(url: str, seconds: float, users: int) -> None:
    """Counts between a second after the start and the end."""
    environment = Environment(user_classes=[Plain], host=url)
    runner = environment.create_local_runner()
    runner.start(users, spawn_rate=users)
    gevent.sleep(1.0)
    before = runner.stats.total.num_requests, time.process_time(), time.perf_counter()
    gevent.sleep(seconds)
    after = runner.stats.total.num_requests, time.process_time(), time.perf_counter()
    failures = runner.stats.total.num_failures
    runner.quit()
    asked, cpu, wall = (b - a for a, b in zip(before, after, strict=True))
    print(json.dumps({"requests": asked, "cpu": cpu, "wall": wall, "failures": failures}))


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]))
