from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import trustme

from runner.config.cron import shortest_gap
from runner.config.errors import PlanError
from runner.config.plan import Cron, Every, Plan
from runner.config.purpose import Purpose
from runner.config.read import read_plan

Write = Callable[..., Path]


def planned(file: Path, **given: Any) -> Plan:
    """Loads a file with these variables and arguments."""
    arguments = {key: given.pop(key) for key in ("tags", "checks", "purpose", "annotate") if key in given}
    return read_plan(file, environ=given, **arguments)


def wrong(file: Path, **given: Any) -> str:
    """Loads a wrong file, and gives what is said about it."""
    with pytest.raises(PlanError) as error:
        planned(file, **given)
    return str(error.value).replace(f"{file.parent}/", "")


def names(plan: Plan) -> list[str]:
    """Lists the checks of a plan."""
    return [one.check.name for one in plan.checks]


TCP = "kind: tcp, host: localhost, port: 1"


def test_a_check_takes_what_the_defaults_say(write: Write) -> None:
    """Interval, timeout, zone, alert and gate come from defaults: where a check doesn't say otherwise."""
    text = "defaults: {interval: 2m, timeout: 7s, zone: Europe/Berlin, alert: page, gate: optional}\nchecks:\n"
    plan = planned(
        write(
            text
            + f"  one: {{{TCP}}}\n"
            + f"  two: {{{TCP}, interval: 20s, timeout: 1500ms, alert: none, gate: required}}\n"
            + f"  three: {{{TCP}, cron: '0 3 * * SUN'}}\n"
        )
    )
    one, two, three = plan.checks
    assert (one.schedule, one.timeout, one.check.alert, one.check.required) == (Every(120.0), 7.0, "page", False)
    assert (two.schedule, two.timeout, two.check.alert, two.check.required) == (Every(20.0), 1.5, "none", True)
    assert (three.schedule, three.check.interval) == (Cron("0 3 * * SUN", "Europe/Berlin"), shortest_gap("0 3 * * SUN"))


def test_values_take_the_type_of_their_field(write: Write) -> None:
    """A text "5432" fills a number, "false" a switch, and a password of digits stays what it is, from outside and in quotes."""
    plan = planned(
        write(
            "checks:\n"
            '  one: {kind: tcp, host: "${HOST}", port: "${PORT}"}\n'
            '  off: {kind: tcp, host: localhost, port: 1, enabled: "${ON}"}\n'
            "  who: {kind: http, url: http://localhost, basic: {user: '17', password: \"${PASSWORD}\"}}\n"
        ),
        HOST="10.0.0.1",
        PORT="5432",
        ON="false",
        PASSWORD="0123",
    )
    one, who = plan.checks
    assert one.check.address == "10.0.0.1:5432"
    assert getattr(who.probe, "basic").password.get_secret_value() == "0123"  # noqa: B009 - the kind's own field


def test_values_are_never_read_as_yaml(write: Write) -> None:
    """A value that looks like YAML is a text: it makes no keys, no list and no second value."""
    plan = planned(write("service: ${NAME}\nchecks:\n  one: {" + TCP + "}\n"), NAME="{a: 1}\nchecks: []")
    assert plan.service == "{a: 1}\nchecks: []"


def test_only_what_runs_is_filled_in(write: Write) -> None:
    """`enabled` is read first, and neither a check that is off nor what it alone uses needs its values."""
    text = (
        "targets:\n  here: {url: http://localhost}\n  there: {url: '${THERE}'}\n"
        "slos:\n  own: {objective: '${OBJECTIVE}'}\n"
        "checks:\n"
        "  on: {kind: http, target: here}\n"
        "  off: {kind: http, target: there, slos: [own], headers: {A: '${SECRET}'}, enabled: '${ENABLED:-false}'}\n"
    )
    plan = planned(write(text))
    assert (names(plan), list(plan.targets), plan.slos) == (["on"], ["here"], ())
    said = wrong(write(text), ENABLED="true")
    assert [name in said for name in ("THERE is not set", "OBJECTIVE is not set", "SECRET is not set")] == [True, True, True]


def test_the_server_s_tokens_are_needed_by_who_serves(write: Write) -> None:
    """A gate in CI needs no token of the server; `outrider run` does."""
    file = write(
        "server: {listen: '[::1]:9000', operate_token: '${file:token}', hosts: [outrider.example]}\nchecks:\n  one: {" + TCP + "}\n"
    )
    assert planned(file, purpose=Purpose.CHECKS).server.operate_token == ""
    assert "token can't be read" in wrong(file)
    (file.parent / "token").write_text("operate-me\n")
    server = planned(file).server
    assert (server.host, server.port, server.operate_token, server.hosts) == ("::1", 9000, "operate-me", ("outrider.example",))
    assert "operate-me" not in repr(planned(file))


def test_paths_start_at_the_file_s_folder(write: Write, tmp_path: Path) -> None:
    """State, secrets and certificates lie beside the file, whatever folder the command was called in."""
    tls = "kind: tls, host: localhost, tls"
    file = write(f"state: here\nchecks:\n  one: {{{tls}: {{ca: ca.pem}}}}\n  two: {{{tls}: {{ca: '${{CA:-}}'}}}}\n")
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    plan = planned(file)
    authorities = [getattr(one.probe, "tls").ca for one in plan.checks]  # noqa: B009 - the kind's own field
    assert (plan.state, authorities) == (tmp_path / "here", [tmp_path / "ca.pem", None])


def test_selection_is_by_tag_or_name(write: Write) -> None:
    """Checks that carry one of the tags and those that are named run, in the file's order."""
    file = write(
        f"checks:\n  a: {{{TCP}, tags: [x]}}\n  b: {{{TCP}}}\n  c: {{{TCP}, tags: [y]}}\n  d: {{{TCP}, tags: [x], enabled: false}}\n"
    )
    assert names(planned(file)) == ["a", "b", "c"]
    assert names(planned(file, tags=["x"])) == ["a"]
    assert names(planned(file, tags=["y"], checks=["a"])) == ["a", "c"]


@pytest.mark.parametrize(
    ("chosen", "said"),
    [
        ({"tags": ["smok"]}, "--tag smok  no check carries the tag smok; did you mean smoke?"),
        ({"tags": ["idle"]}, "--tag idle  no enabled check carries the tag idle"),
        ({"checks": ["apii"]}, "apii  no such check: apii; did you mean api?"),
        ({"checks": ["off"]}, "off  this check is not enabled"),
    ],
)
def test_a_selection_that_selects_nothing_is_an_error(write: Write, chosen: dict[str, Any], said: str) -> None:
    """A tag that no check carries and a check that isn't there are mistakes of who typed them, never an empty run."""
    file = write(f"checks:\n  api: {{{TCP}, tags: [smoke]}}\n  off: {{{TCP}, tags: [idle], enabled: false}}\n")
    assert wrong(file, **chosen) == f"{said}\n1 error in checks.yaml; nothing was started"


@pytest.mark.parametrize("more", ["", "gate: {tags: [smoke]}\n"])
def test_a_gate_says_what_its_checks_are_tagged(write: Write, more: str) -> None:
    """U20: nobody typed the tag smoke: what the gate runs is said, and what to add or to type."""
    file = write(f"{more}checks:\n  api: {{{TCP}}}\n  off: {{{TCP}, tags: [smoke], enabled: false}}\n")
    text = "gate.tags: outrider gate runs the enabled checks tagged smoke (gate.tags), and there is none; add tags: [smoke] to a check, "
    assert f"{text}or choose checks with --tag or --check\n1 error; nothing was started" in wrong(file, purpose=Purpose.GATE)
    assert names(read_plan(file, environ={}, purpose=Purpose.GATE, checks=["api"])) == ["api"]


def test_a_plan_knows_the_files_that_its_values_came_from(write: Write, tmp_path: Path) -> None:
    """Those of what runs: a reload looks at them, since a password that was rotated is a change too."""
    (tmp_path / "key").write_text("secret-value")
    api, off = "kind: http, url: 'http://localhost/', bearer: '${file:key}'", "kind: http, url: '${file:no}', enabled: false"
    two = f"checks:\n  api: {{{api}}}\n  off: {{{off}}}\n"
    assert read_plan(write(two), environ={}).files == (tmp_path / "key",)


def test_a_check_knows_its_line_in_the_file(write: Write) -> None:
    """Readers can point at the check's own line."""
    assert [one.check.line for one in planned(write(f"checks:\n  a: {{{TCP}}}\n\n  b: {{{TCP}}}\n")).checks] == [3, 5]


BASE = """targets:
  api: {{url: {url}, limit: {limit}}}
slos:
  p95: {{objective: {objective}, threshold: 500ms}}
checks:
{before}  api: {{kind: http, target: api, path: {path}, timeout: {timeout}, slos: [p95], tags: [{tag}], headers: {{A: "${{A}}"}}}}
  other: {{kind: tcp, host: localhost, port: {port}}}
"""


SAME = {
    "url": "http://localhost",
    "limit": "10/1h",
    "objective": "95%",
    "before": "",
    "path": "/a",
    "timeout": "5s",
    "tag": "x",
    "port": "1",
}


@pytest.mark.parametrize(
    ("change", "changed"),
    [
        ({"before": "  # a comment\n\n"}, False),
        ({"port": "2"}, False),
        ({"url": "http://127.0.0.1"}, True),
        ({"limit": "11/1h"}, True),
        ({"objective": "96%"}, True),
        ({"path": "/b"}, True),
        ({"timeout": "4s"}, True),
        ({"tag": "y"}, True),
    ],
)
def test_a_fingerprint_changes_with_what_matters(write: Write, change: Mapping[str, str], changed: bool) -> None:  # noqa: FBT001 - a table
    """A check is the same as before where nothing of its own changed: not when lines move, not when another check changes."""
    before, after = (planned(write(BASE.format(**{**SAME, **one})), A="a").checks[0] for one in ({}, change))
    assert (before.fingerprint != after.fingerprint) is changed


def test_a_fingerprint_changes_with_a_secret(write: Write) -> None:
    """A rotated secret is a change, though no fingerprint tells which."""
    one, two = (planned(write(BASE.format(**SAME)), A=secret).checks[0].fingerprint for secret in ("first-secret", "second-secret"))
    assert one != two
    assert "secret" not in one


@pytest.mark.parametrize(
    ("key", "kinds"),
    [("url: '${V}'", "http redis"), ("dsn: '${V}'", "postgres"), ("host: '${V}', port: '${W}'", "tcp tls")],
)
def test_a_check_without_its_values_is_still_understood(write: Write, key: str, kinds: str) -> None:
    """Texts of the right form stand in for addresses, numbers and durations, so that all else can be judged."""
    for kind in kinds.split():
        plan = planned(write(f"checks:\n  one: {{kind: {kind}, {key}, timeout: '${{T}}', enabled: '${{E}}'}}\n"), purpose=Purpose.DRY_RUN)
        assert names(plan) == ["one"]


def test_names_and_schedules_from_elsewhere_stand_open_without_values(write: Write) -> None:
    """Where a variable gives a schedule or a name, nothing is said of it before it is set, and what is set is judged."""
    checks = (
        f"  one: {{{TCP}, interval: '${{EVERY}}', slos: ['${{SLO}}'], depends_on: ['${{PARENT}}'], tags: ['${{TAG}}']}}\n"
        f"  two: {{{TCP}, cron: '${{CRON}}', zone: '${{ZONE}}', timeout: '${{LONG}}'}}\n"
    )
    file = write(f"checks:\n{checks}")
    assert names(planned(file, purpose=Purpose.DRY_RUN)) == ["one", "two"]
    given = {"EVERY": "1s", "SLO": "p95", "PARENT": "moon", "CRON": "x", "ZONE": "nowhere", "TAG": "A B", "LONG": "1m"}
    assert "6 errors" in wrong(file, **given)


def test_what_is_set_for_others_is_none_of_a_gate_s_business(write: Write) -> None:
    """A variable that is wrong for a check that doesn't run stops no other."""
    other = "  not: {kind: http, target: api, timeout: '${T}'}"
    file = write(f"targets:\n  api: {{url: '${{API_URL}}'}}\nchecks:\n  on: {{{TCP}, tags: [x]}}\n{other}\n")
    assert names(planned(file, tags=["x"], API_URL="no address", T="5")) == ["on"]
    assert "2 errors" in wrong(file, API_URL="no address", T="5")


def test_mistakes_are_seen_without_values_too(write: Write) -> None:
    """--no-secrets says what is wrong with the file itself, and what is set is judged as well."""
    said = wrong(write("checks:\n  one: {kind: redis, url: '${V}', round_tripp: true, timeout: '${T}'}\n"), purpose=Purpose.DRY_RUN, T="5")
    assert "round_trip?" in said
    assert "5 has no unit; write 5s (the value comes from ${T})" in said
    assert "2 errors" in said


@pytest.mark.parametrize("length", [63, 64])
def test_a_name_as_long_as_may_be(tmp_path: Path, length: int) -> None:
    """63 characters are a name (a label of DNS and of Kubernetes has no more), and 64 are none."""
    file = tmp_path / "checks.yaml"
    file.write_text(f"version: 1\nchecks: {{{'a' * length}: {{kind: tcp, host: localhost, port: 1}}}}\n")
    if length == 63:
        assert [one.check.name for one in read_plan(file, environ={}).checks] == ["a" * 63]
    else:
        with pytest.raises(PlanError, match=r"a name has small letters, digits and - \(not first\), at most 63 of them"):
            read_plan(file, environ={})


@pytest.mark.parametrize(
    "settings",
    [
        "kind: http, url: 'http://${HOST}:${PORT}/health'",
        "kind: http, url: '${API}/health', proxy: '${PROXY}', http: '${HTTP}'",
        "kind: http, url: 'http://localhost', expect: {status: '${STATUS}', within: '${QUICK}'}",
        "kind: websocket, url: '${SOCKET}'",
        "kind: postgres, dsn: 'postgresql://${USER}:${PASSWORD}@${HOST}:${PORT}/x'",
        "kind: tcp, host: '${HOST}', port: '${PORT}', reports_as: '${REPORT}', confirm: '${CONFIRM}', gate: '${GATE}'",
    ],
)
def test_a_value_that_is_not_there_has_an_example_of_its_field(write: Write, settings: str) -> None:
    """Whatever is left open, whole or in part: the field's own example stands there, so that the check is understood."""
    assert names(planned(write(f"checks:\n  one: {{{settings}}}\n"), purpose=Purpose.DRY_RUN)) == ["one"]


def test_a_name_that_is_there_in_part_is_not_judged(write: Write) -> None:
    """Neither as an SLO's measure, nor as a check to compare with, nor in a path that a target's rules would refuse."""
    report = "{kind: health_metrics, target: api, parts: {$.db_healthy: {equals: true, compare_with: 'the-${DATABASE}'}}}"
    text = (
        "targets: {api: {url: 'http://localhost', deny: ['GET /*/no']}}\n"
        "slos: {own: {objective: 95%, threshold: 1s, measure: 'step.${STEP}'}}\n"
        f"checks:\n  report: {report}\n"
        "  trip: {kind: journey, target: api, slos: [own], steps: [{name: a, get: '/x/${ID}'}, {name: b, get: '/${ID}/no'}]}\n"
    )
    assert names(planned(write(text), purpose=Purpose.DRY_RUN)) == ["report", "trip"]


def test_a_gate_that_the_runner_carries_out_has_the_file_s_rules(write: Write) -> None:
    """`outrider run` reads the values of the gate section: a gate --via waits as long as the file says, from a variable too."""
    file = write("gate: {wait: '${GATE_WAIT:-5m}', rounds: 7}\nchecks:\n  one: {" + TCP + "}\n")
    gate = planned(file, GATE_WAIT="11m").gate
    assert (gate.wait, gate.rounds) == (660.0, 7)
    assert planned(file, purpose=Purpose.CHECKS, GATE_WAIT="11m").checks


def test_the_tags_of_a_gate_stand_back_where_anything_is_chosen(write: Write) -> None:
    """They say what a gate judges by itself; a name or a tag from its command line is all that it judges then."""
    checks = f"  one: {{{TCP}, tags: [release]}}\n  two: {{{TCP}, tags: [night]}}\n  three: {{{TCP}}}\n"
    file = write(f"gate: {{tags: [release]}}\nchecks:\n{checks}")
    for chosen, judged in (({}, ["one"]), ({"checks": ["three"]}, ["three"]), ({"tags": ["night"]}, ["two"])):
        assert names(planned(file, purpose=Purpose.GATE, **chosen)) == judged


def test_who_annotates_needs_no_check(write: Write) -> None:
    """The values of the grafana section are enough: a pipeline that marks a deployment knows none of the checks' secrets."""
    file = write(f"grafana: {{url: '${{GRAFANA}}'}}\nchecks:\n  one: {{{TCP}, timeout: '${{WAIT}}'}}\n")
    plan = planned(file, purpose=Purpose.ANNOTATE, GRAFANA="http://grafana.test")
    assert (names(plan), plan.grafana and plan.grafana.url) == ([], "http://grafana.test")
    assert "GRAFANA is not set" in wrong(file, purpose=Purpose.ANNOTATE)


def test_only_an_empty_address_leaves_a_plan_unmarked(write: Write) -> None:
    """A file without a grafana section, or a command that marks nothing, has nothing to say of it."""
    without, empty = (f"{section}checks:\n  one: {{{TCP}}}\n" for section in ("", "grafana: {url: ''}\n"))
    assert not planned(write(without)).unmarked
    assert planned(write(empty)).unmarked
    assert not planned(write(empty), purpose=Purpose.CHECKS).unmarked


def test_without_values_no_reference_is_asked(write: Write) -> None:
    """What is read without its values sends nothing to anybody, the references outside included."""
    file = write(f"references: [https://reference.test/]\nchecks:\n  one: {{{TCP}}}\n")
    assert planned(file, purpose=Purpose.DRY_RUN).references == ()
    assert planned(file).references == ("https://reference.test/",)


LOADED = """targets:
  api: {url: http://localhost, load: '${LOADABLE:-true}'}
  staging: {url: '${STAGING}', load: true}
  free: {url: http://localhost}
slos:
  p95: {objective: 95%, threshold: 500ms}
load:
  scenarios:
    near: {mix: {trip: 1}, slos: [p95]}
    far: {mix: {tour: 1}, slos: [p95], target: staging}
checks:
  trip: {kind: journey, target: api, steps: [{name: a, get: /a}]}
  tour: {kind: journey, target: staging, headers: {A: '${FAR_TOKEN}'}, steps: [{name: a, get: /a}]}
  idle: {kind: journey, target: api, enabled: false, headers: {A: '${IDLE}'}, steps: [{name: a, get: /a}]}
  port: {kind: tcp, host: '${HOST}', port: 1}
"""


def test_a_load_needs_the_values_of_its_own_target_alone(write: Write) -> None:
    """Its target and the enabled journeys to it; of the other targets, journeys and kinds nothing has to be set."""
    near = read_plan(write(LOADED), environ={}, purpose=Purpose.LOAD, scenario="near")
    assert (names(near), list(near.targets), near.load.scenarios["near"].target) == (["trip"], ["api"], "api")
    far = {"STAGING": "http://localhost", "FAR_TOKEN": "x"}
    plan = read_plan(write(LOADED), environ=far, purpose=Purpose.LOAD, scenario="far")
    assert (names(plan), plan.load.scenarios["far"].target) == (["tour"], "staging")
    with pytest.raises(PlanError, match="FAR_TOKEN is not set"):
        read_plan(write(LOADED), environ={"STAGING": "http://localhost"}, purpose=Purpose.LOAD, scenario="far")


@pytest.mark.parametrize(
    ("environ", "loadable"),
    [
        ({}, ("api",)),
        ({"LOADABLE": "false"}, ()),
        ({"STAGING": "http://localhost"}, ("api", "staging")),
        ({"STAGING": "no address"}, ("api",)),
    ],
)
def test_the_one_target_that_says_load_true_is_meant(write: Write, environ: dict[str, str], loadable: tuple[str, ...]) -> None:
    """Where a scenario names none: the only one whose values are set here and that says so; none or several of them mean nothing."""
    rules = read_plan(write(LOADED), environ=environ, purpose=Purpose.LOAD, scenario="near").load
    assert rules.loadable == loadable
    assert rules.scenarios["near"].target == ("api" if loadable == ("api",) else "")


def test_one_wrong_rule_of_a_target_is_one_error(write: Write) -> None:
    """S15h: the checks of a target that is wrong say nothing of values that aren't set."""
    checks = "".join(f"  c{n}: {{kind: http, target: t, path: /{n}}}\n" for n in range(23))
    with pytest.raises(PlanError) as error:
        read_plan(write(f"targets: {{t: {{url: 'http://h/', allow: [nonsense]}}}}\nchecks:\n{checks}"), environ={})
    assert len(error.value.problems) == 1
    assert "targets.t.allow, item 1: write a method and a path" in str(error.value)


def test_a_redirect_may_lead_to_each_declared_target_whichever_checks_are_selected(write: Write) -> None:
    """W5: the targets that no selected check uses are known without their secrets; one whose address is not known is left out."""
    file = write(
        "targets:\n"
        "  apex: {url: 'http://apex.test'}\n"
        "  www: {url: 'http://www.test', headers: {X-Key: '${NOT_SET}'}, allow: [POST /login], limit: 5/1m}\n"
        "  open: {url: '${ALSO_NOT_SET}'}\n"
        "  set: {url: '${SET}'}\n"
        "checks:\n"
        "  apex: {kind: http, target: apex, path: /, redirects: 3}\n"
        "  www: {kind: http, target: www, path: /}\n"
        "  open: {kind: http, target: open, path: /}\n"
    )
    plan = planned(file, checks=["apex"], SET="http://set.test")
    assert list(plan.targets) == ["apex"]
    assert {name: target.url for name, target in plan.unused_targets.items()} == {"www": "http://www.test", "set": "http://set.test"}
    assert plan.unused_targets["www"].headers == {}
    assert plan.unused_targets["www"].refusal("POST", "http://www.test/login") is None
    assert plan.unused_targets["www"].limit is not None


@pytest.mark.parametrize(
    "check",
    [
        "{kind: postgres, dsn: 'postgresql://me@localhost/x?sslmode=verify-full&sslrootcert=sub/ca.pem'}",
        "{kind: redis, url: 'rediss://localhost?ssl_ca_certs=sub/ca.pem'}",
    ],
)
def test_a_file_in_an_address_is_below_the_folder_of_the_file(write: Write, tmp_path: Path, check: str) -> None:
    """A relative one starts where all others do, and not in the folder from which the command was called."""
    file = write(f"checks: {{c: {check}}}")
    with pytest.raises(PlanError) as error:
        planned(file)
    assert f"{tmp_path}/sub/ca.pem" in str(error.value)
    (tmp_path / "sub").mkdir()
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "sub" / "ca.pem"))
    (only,) = planned(file).checks
    assert str(tmp_path / "sub" / "ca.pem") in repr(only.probe._read().tls)  # type: ignore[attr-defined]


def test_confirm_reaches_the_plan(tmp_path: Path) -> None:
    """It says how often a failure is re-checked, and moves no run."""
    (tmp_path / "checks.yaml").write_text("version: 1\nchecks:\n  c: {kind: tcp, host: 127.0.0.1, port: 9, confirm: 2}\n", encoding="utf-8")
    [planned] = read_plan(tmp_path / "checks.yaml", environ={}).checks
    assert (planned.confirm, planned.shift) == (2, 0.0)
