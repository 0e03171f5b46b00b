from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from runner.grafana import Event, outage
from runner.grafana.annotations import joined
from runner.grafana.apis import Annotation
from runner.grafana.events import OPEN, labelled, name_of
from tests.support.recording import FINISHED, STARTED, done, release


def test_a_finished_deployment_needs_a_verdict() -> None:
    """A region without a verdict would tell nothing; a deployment without any time is none."""
    with pytest.raises(ValueError, match="a finished deployment has a verdict"):
        done(verdict="").event()
    with pytest.raises(ValueError, match="an event has a start or an end"):
        release(started=None).event()
    with pytest.raises(ValueError, match="tags that tell it apart"):
        Event((), "text", STARTED)


def test_its_title_is_the_best_name_that_it_has() -> None:
    """A revision, shortened; else the version; else the id."""
    assert release(revision="3f2c91a8d0e4b7c6a5f4").title == "deployment 3f2c91a8d0e4"
    assert release(revision="").title == "deployment 1.4.2"
    assert release(revision="", version="", id="friday").title == "deployment friday"


@given(st.text(min_size=1, max_size=300), st.text(min_size=1, max_size=300), st.text(max_size=300), st.text(max_size=300))
@example("ü" * 64, "旅" * 100, "旅" * 64, "旅" * 64)
@settings(max_examples=60, deadline=None)
def test_tags_stay_below_grafanas_limit(service: str, number: str, version: str, revision: str) -> None:
    """Whatever is in them: each below 100 bytes a value, without blanks at the ends, all together below 500 bytes as Grafana counts.

    It counts the bytes of each, two quotation marks, the commas and the brackets.
    """
    tags = labelled(service=service, id=number, version=version, revision=revision, environment="é" * 99, verdict="inconclusive")
    assert all(len(t.partition(":")[2].encode()) <= 100 and t == t.strip() and "\n" not in t for t in tags)
    assert sum(len(t.encode()) + 3 for t in ("deployment", *tags, OPEN)) + 1 <= 500


def test_long_values_stay_apart() -> None:
    """Two ids that differ behind the cut are two."""
    one, two = labelled(id="a" * 200 + "1"), labelled(id="a" * 200 + "2")
    assert one != two
    assert len(one[0]) == 103


def test_text_is_escaped_and_cut() -> None:
    """Grafana shows text as HTML: signs of HTML come out as they are, and a novel is cut."""
    text = done(detail="status: <html> & more", link="https://ci.example/1").event().text
    assert text.endswith("status: &lt;html&gt; &amp; more\nhttps://ci.example/1")
    assert len(done(detail="x" * 5000).event().text) == 2000


def test_names_are_made_of_the_identity_alone() -> None:
    """The same wherever it is made, whatever the order; another for another deployment."""
    assert name_of(("a:1", "b:2")) == name_of(("b:2", "a:1"))
    assert name_of(release(1).event().identity) != name_of(release(2).event().identity)
    assert name_of(["x"]).startswith("outrider-")
    assert len(name_of(["x"])) == 29


def test_an_end_never_lies_before_its_start() -> None:
    """Grafana would swap the two without a word."""
    event = done(started=STARTED, finished=STARTED - 60).event()
    assert (event.start_ms, event.end_ms) == (STARTED * 1000, STARTED * 1000)


def written(event: Event) -> Annotation:
    """As Grafana would have it."""
    return Annotation("1", event.text, event.start_ms, event.end_ms, event.all_tags)


def test_what_is_told_late_is_joined() -> None:
    """A start after the end opens nothing and gives the end its start; an end after the start keeps it."""
    point = written(done(started=None).event())
    late = joined(release().event(), [point])
    assert (late.start, late.end, OPEN in late.all_tags, "verdict:pass" in late.all_tags) == (STARTED, FINISHED, False, True)
    end = joined(done(started=None).event(), [written(release().event())])
    assert (end.start, end.end) == (STARTED, FINISHED)
    assert written(end).matches(end)
    assert not point.matches(end)


def test_an_outage_says_how_long_it_was() -> None:
    """In the units that a person reads, and told apart by its first failure."""
    where: Any = {"service": "roadtrip", "environment": "production"}
    lengths = [outage("api", began=STARTED, ended=STARTED + s, **where).text.partition("for ")[2] for s in (0.2, 45, 75, 3600, 90061)]
    assert lengths == ["less than a second", "45 s", "1 min 15 s", "1 h", "25 h 1 min"]
    assert outage("api", began=STARTED, **where).identity != outage("api", began=STARTED + 1, **where).identity


def test_an_outage_that_no_pass_ended_says_what_did() -> None:
    """It is the same outage as the one that began; only its text tells of the end."""
    where: Any = {"service": "roadtrip", "environment": "test"}
    begun = outage("api", began=STARTED, why="refused", **where)
    ended = outage("api", began=STARTED, ended=STARTED + 75, until="it was removed from checks.yaml", why="refused", **where)
    assert ended.text == "api failed for 1 min 15 s, until it was removed from checks.yaml\nrefused"
    assert (ended.identity, ended.start) == (begun.identity, begun.start)
