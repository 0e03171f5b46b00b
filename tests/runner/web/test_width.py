"""The pages in a real browser, as narrow as a phone."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from probes.core import Reason
from runner.config.errors import RefusedFile
from tests.support.browser import Page, browsing
from tests.support.observations import AVAILABILITY, P95, STORY, failed, made_check, passed
from tests.support.site import Site, site

pytestmark = [pytest.mark.browser, pytest.mark.timeout(60), pytest.mark.xdist_group("browser")]

LONG = "team-2-" + "service-with-a-long-name-" * 4 + "7"
URL = "https://runbooks.example/" + "a" * 200


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """One browser for all tests of this file."""
    with browsing(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture(scope="module")
def here() -> Site:
    """Long names, long messages, SLOs, failures, and a refused file."""
    checks = [made_check(name, slos=(AVAILABILITY, P95, STORY), runbook=URL, tags=(name,), address=URL) for name in ("api", LONG)]
    made = site(*checks)
    made.refused_file = RefusedFile(0.0, (f"checks.yaml:3:22  {URL}",))
    seen = {"phases": {"a-long-name-of-a-phase": 0.1, "processing": 5.0}, "evidence": {"response": URL}, "facts": {LONG: URL}}
    return made.saw(*(run for check in checks for run in (passed(check), failed(check, Reason.STATUS, URL, **seen))))


@pytest.mark.parametrize("width", [320, 375, 1280])
@pytest.mark.parametrize("path", ["/", "/checks/api", f"/checks/{LONG}", f"/checks/{LONG}x", "/checks/api?still"])
def test_no_page_is_wider_than_its_window(page: Page, here: Site, tmp_path: Path, path: str, width: int) -> None:
    """U18: nothing is cut off at the right: 320 px are enough."""
    html, css = (asyncio.run(here.ask(one)).text for one in (path, "/static/page.css"))
    file = tmp_path / "page.html"
    file.write_text(re.sub(r'<link rel="stylesheet"[^>]*>', lambda _: f"<style>{css}</style>", html))
    page.open(file, width=width)
    assert page.value("document.documentElement.scrollWidth") <= width
