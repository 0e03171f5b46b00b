"""What every test stands on: no blocking call on the loop, no proxy and no demo of the environment."""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from blockbuster import blockbuster_ctx
from hypothesis import settings

# The same examples each time: a test that fails once in 200 runs is a bug, and HYPOTHESIS_PROFILE=explore looks for new ones.
settings.register_profile("house", deadline=None, derandomize=True, max_examples=50)
settings.register_profile("explore", deadline=None, max_examples=2000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "house"))

PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@pytest.fixture(autouse=True)
def _loop_never_blocks(request: pytest.FixtureRequest) -> Iterator[None]:
    """A blocking call on the event loop fails the test: one blocking probe falsifies every other probe's latency.

    A test without a loop needs no watch, and is quicker without.
    """
    if not inspect.iscoroutinefunction(getattr(request.node, "obj", None)):
        yield
        return
    with blockbuster_ctx():
        yield


@pytest.fixture(autouse=True, scope="session")
def _no_public_authority(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nothing of the tests is signed by a public authority, and to read all of the machine's takes 30 ms a time."""
    file = tmp_path_factory.mktemp("authorities") / "nobody.pem"
    trustme.CA().cert_pem.write_to_path(str(file))
    with pytest.MonkeyPatch.context() as environ:
        environ.setenv("SSL_CERT_FILE", str(file))
        yield


@pytest.fixture(autouse=True, scope="session")
def _no_demo_of_the_environment() -> Iterator[None]:
    """Whoever has read a demo's `environment` file into a shell tests this tree there, and not that demo."""
    committed = Path(__file__).parents[1] / "checks.yaml"
    written = committed.read_text(encoding="utf-8") if committed.exists() else ""  # a copy of the tree for one kind has none
    with pytest.MonkeyPatch.context() as environ:
        for name in set(re.findall(r"\$\{([A-Z][A-Z0-9_]*)", written)):
            environ.delenv(name, raising=False)
        yield


@pytest.fixture(autouse=True)
def _no_proxy_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests mean what they say on a machine that has a proxy configured."""
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
