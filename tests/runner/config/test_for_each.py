"""One check is made for each element, and says of itself what a check that is written out would say."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.config import document, for_each
from runner.config.errors import PlanError
from runner.config.names import LONGEST_NAME, is_name
from runner.config.nodes import Keys
from runner.config.plan import Plan
from runner.config.purpose import Purpose
from runner.config.read import read_plan
from runner.config.validation import Reading

Write = Callable[..., Path]


def planned(file: Path, **given: Any) -> Plan:
    """Reads a file."""
    return read_plan(file, environ=given.pop("environ", {}), **given)


def names(plan: Plan) -> list[str]:
    """Lists the checks of a plan."""
    return [one.check.name for one in plan.checks]


def wrong(file: Path, **given: Any) -> list[str]:
    """Reads a wrong file, and returns the lines about it."""
    with pytest.raises(PlanError) as error:
        planned(file, **given)
    return str(error.value).replace(f"{file.parent}/", "").splitlines()[:-1]


SHOP = """checks:
  shop:
    for_each:
      eu: {port: 443, every: 15s, tags: [fast, eu]}
      us: {port: 8443, every: 1m, tags: [us], off: false}
    kind: tcp
    host: ${each.key}.example.com
    port: ${each.value.port}
    interval: ${each.value.every}
    tags: ${each.value.tags}
    enabled: ${each.value.off:-true}
  db:
    for_each: [https://DB1.example.com:8080/x, db2]
    kind: tcp
    host: localhost
    port: 1
    runbook: "see ${each.value}, $${each.key} and ${NAME:-${each.key}}"
    depends_on: [shop]
  last: {kind: tcp, host: localhost, port: 1, depends_on: [shop-eu, db-db2]}
"""


def test_each_element_makes_a_check_in_its_place(write: Write) -> None:
    """Named NAME-KEY, in the order of the elements; a text has its key from itself; values keep their type, lists too."""
    plan = planned(write(SHOP.replace("off: false", "off: true")))
    assert names(plan) == ["shop-eu", "shop-us", "db-db1-example-com-8080-x", "db-db2", "last"]
    eu, us, db, *_ = (one.check for one in plan.checks)
    assert (eu.address, eu.interval, eu.tags) == ("eu.example.com:443", 15.0, ("fast", "eu"))
    assert (us.address, us.interval, us.tags) == ("us.example.com:8443", 60.0, ("us",))
    assert db.runbook == "see https://DB1.example.com:8080/x, ${each.key} and db1-example-com-8080-x"
    assert [one.line for one in (eu, us, db)] == [5, 6, 14]


def test_one_and_all_of_them_can_be_named(write: Write) -> None:
    """By --check and depends_on; a disabled one is no error unless it is named alone, or all are."""
    file = write(SHOP)
    assert names(planned(file, checks=["shop"])) == ["shop-eu"]
    assert planned(file, checks=["shop"]).off == ("shop-us",)
    assert names(planned(file, checks=["db"])) == ["db-db1-example-com-8080-x", "db-db2"]
    assert names(planned(file, checks=["last", "db-db2"])) == ["db-db2", "last"]
    by_name = {one.check.name: one.check.depends_on for one in planned(file).checks}
    assert (by_name["db-db2"], by_name["last"]) == (("shop-eu", "shop-us"), ("shop-eu", "db-db2"))
    assert wrong(file, checks=["shop-us"]) == ["shop-us  this check is not enabled"]
    assert wrong(file, checks=["shop-as"]) == ["shop-as  no such check: shop-as; did you mean shop-us?"]
    off = write(SHOP.replace("${each.value.off:-true}", "false"))
    assert wrong(off, checks=["shop"]) == ["shop  none of its checks is enabled"]


def test_what_depends_on_all_of_its_own_is_a_ring(write: Write) -> None:
    """A group that depends on itself is told as any ring is."""
    file = write("checks:\n  a: {for_each: [x, y], kind: tcp, host: localhost, port: 1, depends_on: [a]}")
    assert wrong(file)[0] == "checks.yaml:3:74  checks.a-x.depends_on: depends on itself: a-x -> a-x"


def test_values_of_an_element_are_filled_in_as_everywhere(write: Write) -> None:
    """Variables inside them are needed for selected checks only, secrets are kept, and a dry run needs none."""
    file = write(
        "checks:\n  api:\n    for_each: {a: {url: 'http://localhost', key: '${A_KEY}'}, b: {url: '${B_URL}', key: none}}\n"
        "    kind: http\n    url: ${each.value.url}/x\n    headers: {Authorization: 'Bearer ${each.value.key}'}"
    )
    plan = planned(file, environ={"A_KEY": "sk-a-long-secret"}, checks=["api-a"])
    assert "sk-a-long-secret" in plan.secrets
    (line,) = wrong(file, environ={"A_KEY": "x"})
    assert line == "checks.yaml:6:10  checks.api-b.url: B_URL is not set; export it, or write ${B_URL:-default}"
    assert names(planned(file, purpose=Purpose.DRY_RUN)) == ["api-a", "api-b"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[]", "4:15 checks.a.for_each: must be a list or a mapping; write a list of texts, or a mapping of names to values"),
        ("x", "4:15 checks.a.for_each: must be a list or a mapping; write a list of texts, or a mapping of names to values"),
        ("[x, X]", "4:19 checks.a.for_each: makes a-x, which is written twice; the first is at checks.yaml:4:16"),
        ("[b]", "4:16 checks.a.for_each: makes a-b, which is written twice; the first is at checks.yaml:8:3"),
        (
            "[{n: x}]",
            "4:16 checks.a.for_each, item 1: has no name by itself; write a mapping of names to values, such as {eu: ..., us: ...}",
        ),
        (
            "['${HOST}']",
            "4:16 checks.a.for_each, item 1: has no name by itself; write a mapping of names to values, such as {eu: ..., us: ...}",
        ),
        ("{X: 1}", "4:16 checks.a.for_each.X: a name has small letters, digits and - (not first), at most 63 of them"),
        (f"{{{'x' * 62}: 1}}", f"4:16 checks.a.for_each: makes the name a-{'x' * 61}...; "),
        ("{x: {host: h}}", "6:11 checks.a-x.host: each.value is no single value; there are each.value.host"),
        (f"[{', '.join(f'n{one}' for one in range(1001))}]", "4:5 checks.a.for_each: has 1,001 elements, and may have 1,000"),
    ],
)
def test_elements_that_make_no_check_are_told(write: Write, text: str, said: str) -> None:
    """With the place of the element, or of the setting that it doesn't fit."""
    file = write(
        f"checks:\n  a:\n    for_each: {text}\n    kind: tcp\n    host: w${{each.value}}\n    port: 1\n"
        "  a-b: {kind: tcp, host: localhost, port: 1}"
    )
    place, _, words = said.partition(" ")
    assert [line for line in wrong(file) if line.startswith(f"checks.yaml:{place} ") and words in line]


def test_an_error_names_its_element_and_a_shared_one_is_told_once(write: Write) -> None:
    """A value that is wrong is shown where it is written, under its check's name; a mistake of the check itself once for all."""
    file = write(
        "checks:\n  a:\n    for_each: {x: 5, y: 5s, z: 7}\n    kind: tcp\n    host: localhost\n    port: nonsense\n"
        "    timeout: ${each.value}\n  b: {for_each: [x, y], kind: tcp, port: 1, host: '${each.valeu}'}\n"
        "  c: {kind: tcp, port: 1, host: '${each.key}'}"
    )
    assert [re.sub("  +", " ", line.removeprefix("checks.yaml:")) for line in wrong(file)] == [
        "4:19 checks.a-x.timeout: 5 has no unit; write 5s",
        "4:32 checks.a-z.timeout: 7 has no unit; write 7s",
        "7:11 checks.a-x.port: must be a whole number",
        "9:51 checks.b-x.host: x has no each.valeu; did you mean value?, or write ${each.valeu:-default}",
        "9:51 checks.b-y.host: y has no each.valeu; did you mean value?, or write ${each.valeu:-default}",
        "10:34 checks.c.host: each is known in a check with for_each only",
    ]


@given(st.text(max_size=80))
def test_a_key_from_a_text_is_a_name_or_nothing(text: str) -> None:
    """Whatever an item of a list says: small letters, digits and dashes, unless it has none of them."""
    key = for_each.key_of(text)
    assert key == "" or is_name(key[:LONGEST_NAME])


@given(st.dictionaries(st.from_regex(r"[a-z0-9]{1,8}", fullmatch=True), st.text("ab$}{:-\\ .\n", max_size=12), min_size=1, max_size=5))
def test_a_text_around_a_value_holds_it_as_it_is(values: dict[str, str]) -> None:
    """Whatever signs the value has, it stands between what is written around it."""
    shown = ", ".join(f'"{key}": "{text}"'.replace("\\", "\\\\").replace("\n", "\\n") for key, text in values.items())
    root = document.parse(b"checks: {a: {for_each: {%s}, x: '<${each.value}>'}}" % shown.encode(), "checks.yaml")
    section = root.get("checks")
    assert isinstance(section, Keys)
    made = for_each.expand(Reading(Path("checks.yaml"), root, {}), section.entries).entries
    assert {key: entry.node.get("x").text for key, entry in made.items()} == {f"a-{key}": f"<{text}>" for key, text in values.items()}  # type: ignore[union-attr]
