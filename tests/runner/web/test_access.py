"""Who may read, who may operate, and which names are ours."""

from __future__ import annotations

import base64

import pytest
from starlette.types import Message

from runner.config.plan import Server
from runner.web.access import HEADERS, is_known_host, may_read
from runner.web.refusals import Refusals
from tests.support.metrics import Counted
from tests.support.site import Site, site

READ, OPERATE = "read-me-1234", "drive-me-5678"
PAGES = ["/", "/metrics", "/health/metrics", "/api/checks", "/checks/api", "/api/checks/api"]


@pytest.fixture
def open_site() -> Site:
    """A site without tokens."""
    return site()


@pytest.fixture
def guarded() -> Site:
    """A site with both tokens."""
    return site().guarded(read_token=READ, operate_token=OPERATE)


def basic(password: str) -> dict[str, str]:
    """The header that a browser sends after asking for a password."""
    return {"Authorization": "Basic " + base64.b64encode(f"anybody:{password}".encode()).decode()}


@pytest.mark.parametrize(
    "host",
    [
        "",
        "127.0.0.1:9797",
        "10.0.3.7",
        "[::1]:9797",
        "::1",
        "localhost",
        "LOCALHOST:9797",
        "a.localhost",
        "outrider:9797",
        "outrider.monitoring.svc:9797",
        "outrider.monitoring.svc.cluster.local",
        "host.docker.internal:9797",
        "status.example.org",
        "STATUS.example.org.:443",
        "bound.example",
        "probe_runner:9797",
        "[::ffff:127.0.0.1]:9797",
    ],
)
def test_names_that_no_stranger_owns_are_ours(host: str) -> None:
    """Addresses, localhost, one label, cluster names, the bound name and those of the configuration."""
    assert is_known_host(host, Server(host="bound.example", hosts=("status.example.org",)))


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:9797",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "10.0.3.7.nip.io",
        "svc.evil.example",
        "xn--e1awd7f.com",
        "[::1].evil.example",
        "[::1]evil.example",
        "[::1",
        "::1]",
        "[evil.example]",
        "[localhost]",
        "[127.0.0.1]",
        "fe80::1%evil.example",
        "[fe80::1%25eth0]",
        "localhost:evil.example",
        "localhost:",
        "localhost:9797:1",
        "localhost:123456",
        "user@localhost",
        "evil.example#.localhost",
        "evil.example%00.localhost",
        "evil.example/.localhost",
        "evil.example\\\\.localhost",
        "evil.example?.internal",
        "evil.example,localhost",
        "evil example",
        "b\u00fccher",
        "\u0661\u0662\u0667.0.0.1",
        "outr\u00efder:9797",
        ".",
        ":9797",
        "localhost\u3002",
    ],
)
def test_foreign_names_are_not(host: str) -> None:
    """m2: only a whole name or address counts. One that somebody can point at us from outside is refused unless it is listed."""
    assert not is_known_host(host, Server(hosts=("status.example.org",)))


@pytest.mark.parametrize("path", [*PAGES, "/-/healthy", "/-/ready", "/static/page.css"])
async def test_a_foreign_host_reads_nothing(open_site: Site, path: str) -> None:
    """DNS rebinding: 421, whatever is asked, and the message says what to do."""
    answer = await open_site.ask(path, headers={"Host": "evil.example:9797"})
    assert answer.status_code == 421
    assert "server: {hosts: [...]}" in answer.text
    assert "roadtrip" not in answer.text


async def test_a_foreign_host_operates_nothing(guarded: Site) -> None:
    """Not even with the token."""
    headers = {"Host": "evil.example", "Authorization": f"Bearer {OPERATE}"}
    assert (await guarded.ask("/-/reload", "POST", headers=headers)).status_code == 421
    assert guarded.reloads == 0


async def test_two_names_are_no_name(open_site: Site) -> None:
    """Two Host lines, ours both: whoever stands before us may have judged the other one."""
    answer = await open_site.ask("/", headers=[("Host", "127.0.0.1:9797"), ("Host", "localhost:9797")])
    assert answer.status_code == 421


async def test_who_names_nobody_is_answered(open_site: Site) -> None:
    """A client of HTTP/1.0 sends no Host: nobody could have pointed a name at us."""
    told: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b""}

    async def send(message: Message) -> None:
        told.append(message)

    scope = {"type": "http", "method": "GET", "path": "/-/healthy", "raw_path": b"/-/healthy", "query_string": b"", "headers": []}
    await open_site.app({**scope, "scheme": "http", "server": ("127.0.0.1", 9797), "client": None, "root_path": ""}, receive, send)
    assert told[0]["status"] == 200


@pytest.mark.parametrize("path", PAGES)
async def test_a_head_is_a_reading_too(open_site: Site, guarded: Site, path: str) -> None:
    """Its status and its headers tell of the target as well: without the read token they are refused."""
    assert (await open_site.ask(path, "HEAD")).status_code in {200, 503}
    assert (await guarded.ask(path, "HEAD")).status_code == 401
    assert (await guarded.ask(path, "HEAD", headers={"Authorization": f"Bearer {READ}"})).status_code in {200, 503}


async def test_reading_is_open_unless_a_token_is_set(open_site: Site, guarded: Site) -> None:
    """Without a read token everybody reads; with one nobody without it does, and a browser is told to ask for it."""
    for path in PAGES:
        assert (await open_site.ask(path)).status_code in {200, 503}
        refused = await guarded.ask(path)
        assert refused.status_code == 401
        assert refused.headers["www-authenticate"].startswith("Basic realm=")
        assert "api" not in refused.text


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Authorization": f"Bearer {READ}"}, 200),
        ({"Authorization": f"bearer {READ}"}, 200),
        ({"Authorization": f"Bearer {OPERATE}"}, 200),
        (basic(READ), 200),
        (basic("wrong"), 401),
        ({"Authorization": "Bearer "}, 401),
        ({"Authorization": f"Bearer {READ}x"}, 401),
        ({"Authorization": "Basic !!!"}, 401),
        ({"Authorization": f"Digest {READ}"}, 401),
    ],
)
async def test_the_token_comes_as_bearer_or_as_a_password(guarded: Site, headers: dict[str, str], status: int) -> None:
    """A scraper sends Bearer, a browser Basic; nothing else opens."""
    assert (await guarded.ask("/metrics", headers=headers)).status_code == status


async def test_orchestrators_need_no_token(guarded: Site) -> None:
    """/-/healthy and /-/ready say nothing of the targets, and are open."""
    assert [(await guarded.ask(path)).status_code for path in ("/-/healthy", "/-/ready")] == [200, 200]


async def test_without_an_operate_token_nothing_can_be_operated(open_site: Site) -> None:
    """403, whatever is sent along, also an empty token that equals the empty setting."""
    for headers in ({}, {"Authorization": "Bearer "}, {"Authorization": "Bearer x"}):
        answer = await open_site.ask("/-/reload", "POST", headers=headers)
        assert answer.status_code == 403
        assert "operate_token" in answer.text
    assert open_site.reloads == 0


@pytest.mark.parametrize("headers", [{}, {"Authorization": f"Bearer {READ}"}, basic(OPERATE), {"Authorization": "Bearer é"}])
async def test_operating_takes_its_own_token_as_bearer(guarded: Site, headers: dict[str, str]) -> None:
    """The read token doesn't operate, and a password that a browser sends by itself doesn't either (no cross-site request can)."""
    raw = {name: value.encode() for name, value in headers.items()}
    assert (await guarded.ask("/-/reload", "POST", headers=raw)).status_code == 401
    assert guarded.reloads == 0


async def test_operating_is_never_a_get(guarded: Site) -> None:
    """A link, an image or a prefetch sets nothing going."""
    assert (await guarded.ask("/-/reload", headers={"Authorization": f"Bearer {OPERATE}"})).status_code == 405
    assert guarded.reloads == 0


@pytest.mark.parametrize("path", [*PAGES, "/-/healthy", "/nothing", "/static/page.css"])
async def test_every_answer_carries_the_security_headers(open_site: Site, path: str) -> None:
    """No script, no frame, no sniffing, no referrer; and nothing but the style sheet is stored."""
    answer = await open_site.ask(path)
    assert HEADERS.items() <= dict(answer.headers).items()
    assert "script-src" not in answer.headers["content-security-policy"]
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["cache-control"] == ("public, max-age=3600" if path == "/static/page.css" else "no-store")


def test_a_token_may_hold_any_letters() -> None:
    """A header's bytes come as latin-1; a token beyond ASCII is compared by its UTF-8 all the same."""
    assert may_read("Bearer " + "straße-道".encode().decode("latin-1"), Server(read_token="straße-道"))


def test_an_empty_operate_token_opens_no_reading() -> None:
    """A reader who sends nothing is not the operator of a runner without an operate token."""
    assert not may_read("Bearer ", Server(read_token=READ))
    assert not may_read("", Server(read_token=READ))


async def test_no_token_is_ever_shown(guarded: Site) -> None:
    """Neither page nor JSON nor metric holds a token."""
    for path in PAGES:
        text = (await guarded.ask(path, headers={"Authorization": f"Bearer {READ}"})).text
        assert READ not in text
        assert OPERATE not in text


WRONG = [{"Authorization": "Bearer guess"}, basic("guess"), {"Authorization": "Bearer "}, {"Authorization": "Digest x"}]


@pytest.mark.parametrize("headers", WRONG)
async def test_a_wrong_token_is_slow_and_counted(guarded: Site, headers: dict[str, str]) -> None:
    """m1: a guess takes a second, and is counted with the address that it came from."""
    assert (await guarded.ask("/metrics", headers=headers)).status_code == 401
    assert (await guarded.ask("/-/reload", "POST", headers=headers)).status_code == 401
    assert guarded.refused == [("token", "127.0.0.1")] * 2
    assert guarded.waited == [1.0, 1.0]


async def test_a_browser_that_asks_first_is_not_slowed(guarded: Site) -> None:
    """m1: a browser asks without a token, and then with the right one: neither is a guess."""
    assert (await guarded.ask("/")).status_code == 401
    assert (await guarded.ask("/", headers=basic(READ))).status_code == 200
    assert (guarded.refused, guarded.waited) == ([], [])


async def test_a_foreign_name_is_counted(open_site: Site) -> None:
    """m1: a request for an unknown host is counted as well."""
    await open_site.ask("/", headers={"Host": "evil.example"})
    assert open_site.refused == [("host", "127.0.0.1")]


async def test_refusals_are_a_line_a_minute() -> None:
    """m1: 4,067 wrong tokens are one line in the journal and 4,067 in the metric; a quiet minute is no line."""
    lines: list[str] = []
    metrics = Counted()
    refusals = Refusals(metrics, lambda _, line: lines.append(line))
    assert b'outrider_requests_refused_total{reason="token"} 0.0' in metrics.page()
    for number in range(4067):
        refusals("token", f"10.0.0.{number % 7}")
    refusals("late", "")
    for _ in range(2):
        await refusals.report()
    assert lines == [
        "4,067 requests refused: a wrong token; the latest came from 10.0.0.6",
        "1 request refused: the request took too long to arrive",
    ]
    assert b'outrider_requests_refused_total{reason="token"} 4067.0' in metrics.page()
