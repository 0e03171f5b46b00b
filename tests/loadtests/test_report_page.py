"""The page of a load run in a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from loadtests.reports.html import write
from tests.loadtests.reporting import report, searched
from tests.support.browser import Page, browsing

pytestmark = [pytest.mark.browser, pytest.mark.timeout(60), pytest.mark.xdist_group("browser")]

# WCAG's contrast of each piece of text with the first opaque ground behind it: the worst of all.
CONTRAST = """
(() => {
  const rgb = (c) => c.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => { const [x, y, z] = [r, g, b].map((v) => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
                                 return 0.2126 * x + 0.7152 * y + 0.0722 * z; };
  const ground = (e) => { for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor);
                                                           if (c.length < 4 || c[3] > 0) return c; } };
  let worst = [99, ''];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const e = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || ['TITLE', 'STYLE'].includes(e.tagName.toUpperCase())) continue;
    const style = getComputedStyle(e);
    const [a, b] = [light(rgb(e.closest('svg') ? style.fill : style.color)), light(ground(e))].sort((x, y) => x - y);
    const found = (b + 0.05) / (a + 0.05);
    if (found < worst[0]) worst = [found, walker.currentNode.data];
  }
  return worst;
})()
"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """One browser for all tests of this file."""
    with browsing(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A failed run's page."""
    written = tmp_path_factory.mktemp("report") / "load.html"
    written.write_text(write(report(slow_from=6.0)), encoding="utf-8")
    return written


def test_it_opens_without_a_word_and_asks_for_nothing(page: Page, file: Path) -> None:
    """The file alone is read; nothing is refused, nothing goes wrong."""
    page.open(file)

    assert page.asked == [file.as_uri()]
    assert page.said == []
    assert page.value("document.querySelector('h1').innerText").strip() == "roadtrip breaches its SLOs at 10/s for 20 s"


@pytest.mark.parametrize("width", [1200, 390])
def test_nothing_hangs_over_the_edge(page: Page, file: Path, width: int) -> None:
    """On a desk and on a telephone the page is as wide as the window; what is wider scrolls within its own frame."""
    page.open(file, width=width)

    assert page.value("document.documentElement.scrollWidth") <= width


def test_every_plot_is_drawn(page: Page, file: Path) -> None:
    """Each plot has a size, and lines or cells of a size in it."""
    page.open(file)
    drawn = page.value(
        "[...document.querySelectorAll('.plot svg')].map(s => [s.getBoundingClientRect().height, "
        "[...s.querySelectorAll('.line, rect:not(.band)')].filter(e => e.getBoundingClientRect().width > 1).length])"
    )
    assert len(drawn) == 5
    assert all(height > 90 and parts > 0 for height, parts in drawn), drawn


def test_heat_is_shown_by_colour(page: Page, file: Path) -> None:
    """The fullest cell and the emptiest differ to the eye."""
    page.open(file)
    shades = page.value("[...new Set([...document.querySelectorAll('[class^=heat]')].map(e => getComputedStyle(e).opacity))]")
    assert len(shades) >= 2


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_every_text_can_be_read(page: Page, file: Path, *, dark: bool) -> None:
    """4.5 to 1 for each text against its ground, in both schemes."""
    page.open(file, dark=dark)
    ground = page.value("getComputedStyle(document.documentElement).backgroundColor")
    worst, text = page.value(CONTRAST)

    assert (ground == "rgb(20, 24, 28)") is dark
    assert worst >= 4.5, text


def test_who_cannot_see_it_hears_it(page: Page, tmp_path: Path) -> None:
    """A screen reader finds a heading per part, and a sentence for each plot."""
    written = tmp_path / "load.html"
    written.write_text(write(searched()), encoding="utf-8")
    page.open(written)

    assert "roadtrip" in " ".join(page.spoken("heading"))
    pictures = page.spoken("image")
    assert any(name.startswith("Response time by offered rate: 40/s meets the SLOs, 80/s doesn't.") for name in pictures), pictures
    assert all(pictures)
