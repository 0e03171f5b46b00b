"""The style sheet: readable in both schemes, and nothing fetched from elsewhere."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest

CSS = (files("runner.web") / "static" / "page.css").read_text("utf-8")
SCHEMES = [dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block)) for block in re.findall(r":root \{(.*?)\}", CSS, re.DOTALL)]


def luminance(colour: str) -> float:
    """Relative luminance as WCAG defines it."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """From 1 to 21."""
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def test_there_is_a_light_and_a_dark_scheme() -> None:
    """The same names in both, so that no colour of one shows in the other."""
    light, dark = SCHEMES
    assert light.keys() == dark.keys()
    assert luminance(light["ground"]) > 0.8
    assert luminance(dark["ground"]) < 0.02


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_text_has_the_contrast_that_eyes_need(scheme: dict[str, str]) -> None:
    """4.5 to 1 for texts on every ground that they stand on, 3 to 1 for bars and stretches (WCAG AA)."""
    for ink in ("ink", "quiet", "up", "down", "unknown", "link"):
        for ground in ("ground", "paper", "down-soft"):
            assert contrast(scheme[ink], scheme[ground]) >= 4.5, (ink, ground)
    assert contrast(scheme["pending"], scheme["paper"]) >= 4.5
    for tint in ("t0", "t1", "t2", "t3", "t4", "t5"):
        assert contrast(scheme[tint], scheme["paper"]) >= 3, tint


def test_nothing_is_fetched_from_elsewhere() -> None:
    """The page works on a machine that reaches nothing but the runner."""
    assert "url(" not in CSS
    assert "@import" not in CSS
