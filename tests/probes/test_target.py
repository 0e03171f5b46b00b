"""Targets: what may be sent to them, however a path is spelt."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.target import Rule, Target, plain_path


def target(**settings: Any) -> Target:
    """A target as the plan makes it."""
    return Target.model_validate({"name": "api", "url": "https://api.test/base", **settings})


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("https://api.test", "/"),
        ("https://api.test/a/b?c=/d", "/a/b"),
        ("https://api.test//a///b/", "/a/b/"),
        ("https://api.test/a/./b/../c", "/a/c"),
        ("https://api.test/../../etc", "/etc"),
        ("https://api.test/%61/%2e%2e/b", "/b"),
        ("https://api.test/a%2Fb", "/a/b"),
        ("https://api.test/a%252Fb", "/a%2Fb"),
    ],
)
def test_paths_are_seen_plain(url: str, path: str) -> None:
    """Decoded once; dot segments, double slashes and the query don't hide where a request goes."""
    assert plain_path(url) == path


@pytest.mark.parametrize(
    ("rule", "path", "matches"),
    [
        ("POST /api/x", "/api/x", True),
        ("POST /api/x", "/api/x/y", False),
        ("POST /api/*", "/api/x/y", True),
        ("POST /api/*/book", "/api/x/book", True),
        ("POST /api/*/book", "/api/x/y/book", False),
        ("POST /a.c", "/abc", False),
    ],
)
def test_a_star_stops_at_a_slash_unless_it_is_last(rule: str, path: str, *, matches: bool) -> None:
    """`*` is one segment's worth; as the last sign it is everything."""
    assert Rule.parse(rule).matches("POST", path) is matches


def test_only_what_is_listed_is_sent() -> None:
    """GET is free unless denied; everything else only as listed, and to this host alone."""
    api = target(allow=["POST /api/search"], deny=["GET /api/mine"])

    assert api.refusal("GET", "https://api.test/anything") is None
    assert api.refusal("POST", "https://api.test/api/search") is None
    assert api.refusal("POST", "https://api.test/api/book") == "target api doesn't allow POST /api/book"
    assert api.refusal("DELETE", "https://api.test/api/search") == "target api doesn't allow DELETE /api/search"
    assert api.refusal("GET", "https://api.test//api/./mine") == "target api denies GET /api/mine"
    assert api.refusal("GET", "https://evil.test/") == "https://evil.test is not target api"
    assert api.refusal("GET", "http://api.test/") == "http://api.test is not target api"


@given(st.text(max_size=40))
def test_no_spelling_gets_round_the_list(tail: str) -> None:
    """Whatever is appended or spelt, a POST that isn't listed is refused."""
    api = target(allow=["POST /api/search"])
    url = f"https://api.test/api/book/{tail.replace('#', '')}"

    assert (api.refusal("POST", url) is None) == (plain_path(url) == "/api/search")


@pytest.mark.parametrize("rule", ["post /x", "POST x", "POST", "", 5, "POST /a b"])
def test_a_rule_that_is_none_is_refused(rule: object) -> None:
    """The message shows how a rule is written."""
    with pytest.raises(ValueError, match="write a method and a path"):
        Rule.parse(rule)


LOOSE = ("/danger/x", "/danger/", "/danger", "/DANGER/x", "/danger;v=1/x", "/danger%20/x", "/danger%00/x", "/danger./x", "/a/..%5cdanger/x")


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
@pytest.mark.parametrize("path", [*LOOSE, "/%64anger/x", "/%2564anger/x", "/a/..;/danger/x", "//danger//x", "/./danger/x"])
def test_what_get_is_denied_no_other_reading_method_may(method: str, path: str) -> None:
    """m3: a denied GET is denied to HEAD and OPTIONS, and however loosely a server may read the path."""
    api = target(deny=["GET /danger/*", "GET /danger"])
    assert (api.refusal(method, f"https://api.test{path}") or "").startswith(f"target api denies {method} ")
    assert api.refusal(method, "https://api.test/dangerous") is None


def test_a_denied_head_leaves_get_alone() -> None:
    """m3: the rule of another method stays its own."""
    api = target(deny=["HEAD /big"])
    assert api.refusal("GET", "https://api.test/big") is None
    assert api.refusal("HEAD", "https://api.test/big") is not None


TRICKS = ("/v1/..;/admin", "/v1/..%5cadmin", "/v1/%5c..%5c..%5cadmin", "/v1/%252e%252e/admin", "/v1/.;/../admin", "/v1/..%00/admin")


@pytest.mark.parametrize("path", TRICKS)
def test_a_rule_allows_no_path_that_a_server_may_read_as_another(path: str) -> None:
    """m4: where a redirect would replay a POST to a path that Tomcat or IIS reads as /admin, the rule POST /v1/* doesn't allow it."""
    api = target(allow=["POST /v1/*"])
    assert api.refusal("POST", f"https://api.test{path}") is not None
    assert api.refusal("POST", "https://api.test/v1/Things/a.b/") is None


@given(st.lists(st.text("abcXYZ019-_~", min_size=1, max_size=8), min_size=1, max_size=4))
def test_a_path_without_tricks_is_allowed_as_it_is_written(segments: list[str]) -> None:
    """m4: the second look refuses nothing that has only one reading."""
    path = "/" + "/".join(segments)
    assert target(allow=[f"POST {path}"]).refusal("POST", f"https://api.test{path}") is None
    assert target(deny=[f"GET {path}"]).refusal("HEAD", f"https://api.test{path}") is not None
