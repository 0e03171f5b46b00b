"""The committed configuration of Alertmanager, by Alertmanager's own tools and by a real one."""

from __future__ import annotations

import asyncio
import socket
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from tests.support.web import serving

CONFIG = Path(__file__).parents[2] / "infrastructure/monitoring/alertmanager/alertmanager.yml"
CHECK = {"job": "outrider", "instance": "a:9797", "check": "trip"}


def amtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs amtool."""
    return subprocess.run(["amtool", *arguments], capture_output=True, text=True, check=False)


@pytest.mark.monitoring
def test_amtool_takes_the_configuration() -> None:
    """It finds no fault."""
    checked = amtool("check-config", str(CONFIG))
    assert checked.returncode == 0, checked.stderr


@pytest.mark.monitoring
@pytest.mark.parametrize(
    ("severity", "receiver"), [("critical", "on-call"), ("warning", "tickets"), ("none", "nobody"), ("info", "tickets")]
)
def test_each_severity_has_its_receiver(severity: str, receiver: str) -> None:
    """U5, R8: Whoever is on call gets what is critical; tickets are warnings and what nobody foresaw; what only inhibits calls nobody."""
    routed = amtool("config", "routes", "test", f"--config.file={CONFIG}", f"severity={severity}")
    assert routed.stdout.strip() == receiver


@asynccontextmanager
async def alertmanager(folder: Path, webhook: str) -> AsyncIterator[httpx.AsyncClient]:
    """A real Alertmanager with the committed rules, quicker, that tells a webhook of pages."""
    config = yaml.safe_load(await asyncio.to_thread(CONFIG.read_text))
    config["route"] |= {"group_wait": "0s", "group_interval": "1s"}
    config["receivers"] = [
        one | ({"webhook_configs": [{"url": webhook, "max_alerts": 0}]} if one["name"] == "on-call" else {}) for one in config["receivers"]
    ]
    await asyncio.to_thread((folder / "alertmanager.yml").write_text, yaml.safe_dump(config))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = await asyncio.create_subprocess_exec(
        "prometheus-alertmanager",
        f"--config.file={folder / 'alertmanager.yml'}",
        f"--storage.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
        "--log.level=error",
    )
    transport = httpx.AsyncHTTPTransport(retries=8)
    try:
        async with httpx.AsyncClient(transport=transport, base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
            yield client
    finally:
        process.terminate()
        await process.wait()


def alert(name: str, severity: str, *, over: bool = False, **labels: str) -> dict[str, Any]:
    """An alert as Prometheus sends it."""
    now = datetime.now(UTC)
    ends = {"endsAt": now.isoformat()} if over else {"endsAt": (now + timedelta(hours=1)).isoformat()}
    return {"labels": {**CHECK, **labels, "alertname": name, "severity": severity}, "startsAt": "2026-01-01T00:00:00Z", **ends}


@pytest.mark.monitoring
@pytest.mark.parametrize("source", ["CheckExplained", "CheckMaintenance"])
async def test_what_fires_already_is_muted_and_never_announced_as_resolved(tmp_path: Path, source: str) -> None:
    """R7: What a parent explains, or a window covers, is never told as resolved while it is down; its real end is told."""
    told: asyncio.Queue[dict[str, str]] = asyncio.Queue()

    async def page(request: Request) -> Response:
        alerts = (await request.json())["alerts"]
        told.put_nowait({f"{alert['labels']['alertname']} of {alert['labels'].get('check')}": alert["status"] for alert in alerts})
        return JSONResponse({})

    async with serving({"POST /page": page}) as web, alertmanager(tmp_path, f"{web.url}/page") as client:

        async def send(*alerts: dict[str, Any]) -> None:
            (await client.post("/api/v2/alerts", json=list(alerts))).raise_for_status()

        await send(alert("CheckDown", "critical"))
        assert await told.get() == {"CheckDown of trip": "firing"}
        await send(alert(source, "none"))
        await send(alert("CheckDown", "critical"), alert("CheckDown", "critical", check="database"))
        seen = await told.get()
        while "CheckDown of database" not in seen:
            seen = await told.get()
        assert seen == {"CheckDown of database": "firing"}  # that of trip is muted: it is neither repeated nor resolved
        await send(alert(source, "none", over=True))  # as the rules end: what inhibits, and then what was inhibited
        await send(alert("CheckDown", "critical", over=True))
        while "CheckDown of trip" not in (seen := await told.get()):
            pass
        assert seen == {"CheckDown of trip": "resolved", "CheckDown of database": "firing"}


@pytest.mark.monitoring
async def test_who_is_told_of_an_outage_is_not_told_of_its_budget(tmp_path: Path) -> None:
    """One symptom, one page: what an outage uses up is muted while it lasts and for a while after, also what a page says already."""
    told: asyncio.Queue[list[str]] = asyncio.Queue()

    async def page(request: Request) -> Response:
        alerts = (await request.json())["alerts"]
        told.put_nowait(sorted(f"{one['labels']['alertname']} of {one['labels']['check']}" for one in alerts))
        return JSONResponse({})

    burn = {"job": "outrider", "kind": "http", "slo": "availability"}
    async with serving({"POST /page": page}) as web, alertmanager(tmp_path, f"{web.url}/page") as client:

        async def muted(name: str, check: str, severity: str) -> bool:
            query = {"filter": [f'alertname="{name}"', f'check="{check}"', f'severity="{severity}"']}
            [found] = (await client.get("/api/v2/alerts", params=query)).raise_for_status().json()
            return bool(found["status"]["inhibitedBy"])

        burning = [
            {**alert("ErrorBudgetBurn", severity), "labels": {**burn, "alertname": "ErrorBudgetBurn", "check": check, "severity": severity}}
            for check in ("trip", "api")
            for severity in ("critical", "warning")
        ]
        (await client.post("/api/v2/alerts", json=[alert("ErrorBudgetBurnExplained", "none")])).raise_for_status()
        (await client.post("/api/v2/alerts", json=burning)).raise_for_status()
        assert await told.get() == ["ErrorBudgetBurn of api"]
        assert await muted("ErrorBudgetBurn", "trip", "critical")
        assert await muted("ErrorBudgetBurn", "api", "warning")
        assert not await muted("ErrorBudgetBurn", "api", "critical")
