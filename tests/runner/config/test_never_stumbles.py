from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from probes import discover
from runner.config.errors import PlanError
from runner.config.purpose import Purpose
from runner.config.read import read_plan

ROOT = Path(__file__).parents[3]


KINDS = discover()


SYSTEM = {
    "DATABASE_URL": "postgresql://probe:db-pa55word@127.0.0.1:5432/roadtrip",
    "REDIS_URL": "redis://probe:redis%2Fpa55word@127.0.0.1:6379/0",
    "AI_URL": "http://127.0.0.1:8001",
    "AI_MODEL": "story-1",
    "PROBE_USER": "probe@example.com",
}


Write = Callable[..., Path]


NASTY = (
    *("", "~", "[]", "{}", "[[]]", "{a: {b: c}}", "true", "-1", "0", "1e999", ".nan", "'${X}'", "'${X:-}'", "'$${'", "''"),
    *('"\\u0000"', "'::'", "http://[", "http://a:99999", "'http://a b/'", "'//'", "'$['", "'('", "5s", "1%", "1/1h"),
    *("99999999999999999999999s", "1e5", "*a", "&a b", "<<", "'\\'", "{{x}}", "'{{token}}'", "'POST /x'", "@daily"),
    *("0 0 31 2 *", "a" * 200, "[1, a, ~]", "{$.a: {above: x}}", "0x1f", "2026-12-01"),
)


@settings(max_examples=25)
@given(st.lists(st.tuples(st.integers(16, 200), st.sampled_from(NASTY), st.booleans()), min_size=1, max_size=3))
def test_no_change_of_the_committed_checks_makes_the_load_stumble(changes: list[tuple[int, str, bool]]) -> None:
    """Whatever somebody makes of a line, the file loads, or PlanError says what is wrong with it."""
    lines = (ROOT / "checks.yaml").read_text().splitlines()
    for number, nasty, whole in changes:
        line = lines[number % len(lines)]
        key, colon, _ = line.partition(": ")
        lines[number % len(lines)] = nasty if whole else f"{key}{colon or ': '}{nasty}"
    with TemporaryDirectory() as folder:
        file = Path(folder) / "checks.yaml"
        file.write_text("\n".join(lines))
        for purpose in (Purpose.RUN, Purpose.DRY_RUN):
            assert loads_or_refuses(file, purpose)


def loads_or_refuses(file: Path, purpose: Purpose) -> bool:
    """Whether a file loads, or at least one problem is said."""
    try:
        read_plan(file, environ=SYSTEM, kinds=KINDS, purpose=purpose)
    except PlanError as error:
        return bool(str(error))
    return True


TEMPLATE = """service: {0}
defaults: {{timeout: {1}}}
targets:
  api: {{url: {2}, limit: {3}, headers: {{Authorization: {4}}}, allow: [{5}]}}
slos:
  p95: {{objective: {6}, threshold: {7}}}
checks:
  one:
    {{kind: http, target: api, path: {8}, method: {9}, expect: {{status: {10}, within: {11}, json: {{$.a: {12}}}, regex: {13}}}}}
  two: {{kind: postgres, dsn: {14}, query: {15}}}
  three: {{kind: redis, url: {16}, round_trip: {17}, slos: [p95]}}
  four: {{kind: tcp, host: {18}, port: {19}, interval: {20}, tags: [{23}], alert: {24}, reports_as: {25}}}
  five: {{kind: tcp, host: localhost, port: 1, cron: {21}, zone: {22}}}
  six: {{kind: journey, target: api, steps: [{{name: {26}, post: {27}, form: {{password: {28}}}, capture: {{token: {29}}}}}]}}
server: {{listen: {30}, operate_token: {31}}}
"""


SOUND = (
    *("s", "5s", "http://localhost", "9/1h", "a", "POST /p", "95%", "1s", "/p", "GET", "200", "1s", "1", "x"),
    *("postgresql://r@localhost/d", "q", "redis://localhost", "true", "h", "1", "9s", "* * * * *", "UTC"),
    *("t", "page", "r", "n", "/p", "p", "$.t", "127.0.0.1:1", "x"),
)


SECRET = "S3cr3t-V4lue/@:x"


def test_the_template_of_the_next_test_is_sound(write: Write) -> None:
    """Without a secret in a wrong place the file loads."""
    assert len(read_plan(write(TEMPLATE.format(*(f"'{text}'" for text in SOUND))), environ={}).checks) == 6


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sets(st.integers(0, 31), min_size=1), st.sampled_from(["${API_KEY}", "x${API_KEY}y", "${URL}", "${file:secret}"]))
def test_no_error_shows_a_secret_wherever_it_was_put(write: Write, places: set[int], placeholder: str) -> None:
    """A secret that fills the wrong field is never repeated, whatever the field's complaint says of its value."""
    values = [f"'{placeholder if index in places else text}'" for index, text in enumerate(SOUND)]
    file = write(TEMPLATE.format(*values))
    (file.parent / "secret").write_text(SECRET)
    said = ""
    try:
        read_plan(file, environ={"API_KEY": SECRET, "URL": f"redis://user:{SECRET}@localhost"}, kinds=KINDS)
    except PlanError as error:
        said = str(error)
    assert SECRET not in said
