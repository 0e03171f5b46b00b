"""Argo Rollouts and Flagger, each played by a stand-in that follows its source: what they send, and what they make of the answer."""

from __future__ import annotations

import copy
import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import jsonpath
import pytest
import yaml
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from judge.report import Report, to_json
from judge.verdict import Outcome
from runner.config.plan import Server
from runner.web import flagger
from tests.support.outrider import ROOT, report

pytestmark = pytest.mark.slow  # it runs the validators of others

TOKEN = "operate-me"


@dataclass
class Runner:
    """A runner whose gates end with one verdict; it notes what it was asked."""

    verdict: Outcome
    server: Server = field(default_factory=lambda: Server(operate_token=TOKEN))
    asked: list[tuple[Mapping[str, Any], str]] = field(default_factory=list)

    async def carry(self, request: Mapping[str, Any], key: str) -> Report:
        self.asked.append((request, key))
        return report(self.verdict)

    async def gate(self, request: Request) -> Response:
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            return Response(status_code=401)
        return JSONResponse(to_json(await self.carry(await request.json(), "")))

    async def webhook(self, request: Request) -> Response:
        return await flagger.respond(request, self.server, self.carry)

    def client(self) -> httpx.AsyncClient:
        routes = [Route("/api/gate", self.gate, methods=["POST"]), Route("/api/gate/flagger", self.webhook, methods=["POST"])]
        return httpx.AsyncClient(transport=httpx.ASGITransport(Starlette(routes=routes)))


TEMPLATE: dict[str, Any] = yaml.safe_load((ROOT / "docs/ci/argo-rollouts.yaml").read_text(encoding="utf-8"))
WEBHOOK: dict[str, Any] = yaml.safe_load((ROOT / "docs/ci/flagger.yaml").read_text(encoding="utf-8"))["webhooks"][0]


async def measured(client: httpx.AsyncClient, args: Mapping[str, str]) -> str:
    """The phase of Argo's measurement (metricproviders/webmetric and utils/evaluate): an answer that isn't 2xx is an Error."""
    metric = TEMPLATE["spec"]["metrics"][0]
    text = json.dumps(metric["provider"]["web"])
    for name, value in args.items():
        text = text.replace("{{args." + name + "}}", value)
    web = json.loads(text)
    assert "{{" not in web["url"] + json.dumps(web["jsonBody"])
    headers = {one["key"]: one["value"] for one in web["headers"]} | {"Content-Type": "application/json"}
    answer = await client.request(web["method"], web["url"], json=web["jsonBody"], headers=headers, timeout=web["timeoutSeconds"])
    if not answer.is_success:
        return "Error"
    result = jsonpath.findall(web["jsonPath"].strip("{}"), answer.json())[0]
    success, failure = (metric[name] == f'result == "{result}"' for name in ("successCondition", "failureCondition"))
    return "Failed" if failure else "Successful" if success else "Inconclusive"


ARGS = {"token": TOKEN, "tag": "smoke", "revision": "3f2c91a0b1c2"}


@pytest.mark.parametrize(
    ("verdict", "phase"), [(Outcome.PASS, "Successful"), (Outcome.FAIL, "Failed"), (Outcome.INCONCLUSIVE, "Inconclusive")]
)
async def test_argo_keeps_the_three_apart(verdict: Outcome, phase: str) -> None:
    """Inconclusive stays inconclusive: the rollout pauses instead of going on or back."""
    runner = Runner(verdict)
    async with runner.client() as client:
        assert await measured(client, ARGS) == phase
    assert runner.asked[0][0] == {"tags": ["smoke"], "expect_revision": "3f2c91a0b1c2", "wait": "5m", "rounds": 3}


async def test_argo_sees_a_wrong_token_as_an_error() -> None:
    """Not as a failed release, which would be rolled back."""
    async with Runner(Outcome.PASS).client() as client:
        assert await measured(client, ARGS | {"token": "another"}) == "Error"


def allowed(template: Mapping[str, Any], file: Path) -> bool:
    """Whether the schema cut from Argo's definition takes a template."""
    file.write_text(json.dumps(template), encoding="utf-8")
    command = [str(ROOT / ".venv/bin/check-jsonschema"), "--schemafile", str(ROOT / "tests/ci/analysis-template.json"), str(file)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def test_the_template_is_what_its_definition_allows(tmp_path: Path) -> None:
    """Argo's own definition of the resource takes it, with no field that it doesn't know, and every argument is declared."""
    assert allowed(TEMPLATE, tmp_path / "template.json")
    assert {arg["name"] for arg in TEMPLATE["spec"]["args"]} == set(ARGS)
    spoilt = copy.deepcopy(TEMPLATE)
    spoilt["spec"]["metrics"][0]["provider"]["web"]["timeout"] = 5
    assert not allowed(spoilt, tmp_path / "spoilt.json")


def payload(**metadata: str) -> dict[str, Any]:
    """What Flagger posts."""
    base = {"name": "roadtrip", "namespace": "production", "phase": "Progressing", "checksum": "85d557f47b"}
    return base | {"metadata": metadata}


async def called(client: httpx.AsyncClient, body: Any) -> tuple[bool, str]:
    """Whether the canary goes on (pkg/controller/webhook.go: a status of at most 202), and the text for its events."""
    answer = await client.post(WEBHOOK["url"], content=json.dumps(body), headers={"content-type": "application/json"})
    assert answer.status_code < 500, "Flagger's client would ask again at once"
    return answer.status_code <= 202, answer.text


@pytest.mark.parametrize(("verdict", "goes_on"), [(Outcome.PASS, True), (Outcome.FAIL, False), (Outcome.INCONCLUSIVE, False)])
async def test_flagger_goes_on_at_a_pass_alone(verdict: Outcome, *, goes_on: bool) -> None:
    """The snippet's own metadata start a gate; anything but a pass halts, with the report for the events."""
    runner = Runner(verdict)
    metadata = {name: value.replace("${OPERATE_TOKEN}", TOKEN) for name, value in WEBHOOK["metadata"].items()}
    async with runner.client() as client:
        went_on, text = await called(client, payload(**metadata))
    assert (went_on, text.split()[0]) == (goes_on, verdict.upper())
    expected = {"tags": ["smoke"], "wait": "5m", "rounds": 3}
    assert runner.asked == [(expected, "flagger/production/roadtrip/85d557f47b/Progressing")]


@pytest.mark.parametrize("metadata", [{}, {"token": "another"}, {"token": ""}])
async def test_flagger_needs_the_operate_token(metadata: dict[str, str]) -> None:
    """No gate is carried out for a stranger."""
    runner = Runner(Outcome.PASS)
    async with runner.client() as client:
        assert await called(client, payload(**metadata)) == (False, "the webhook's metadata needs the operate token: token: ...\n")
    assert runner.asked == []


async def test_nobody_operates_a_runner_without_a_token() -> None:
    """Without an operate token an empty one is no key."""
    runner = Runner(Outcome.PASS, Server())
    async with runner.client() as client:
        assert (await called(client, payload(token="")))[0] is False
    assert runner.asked == []


@pytest.mark.parametrize("body", [[], {}, {"metadata": {"token": 7}}, {"metadata": []}, payload(token=TOKEN, wat="x"), "x" * 70_000])
async def test_flagger_is_told_what_is_wrong(body: object) -> None:
    """What is no payload is refused in a sentence, whatever it is, and never as a server's error."""
    runner = Runner(Outcome.PASS)
    async with runner.client() as client:
        went_on, text = await called(client, body)
    assert (went_on, text.count("\n"), runner.asked) == (False, 1, [])
