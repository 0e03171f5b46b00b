from __future__ import annotations

import httpx
import pytest

from demo.standin import StandIn
from probes.expect.contract import breaches
from probes.kinds.booking.partners import PARTNERS
from tests.support.clock import FakeClock


def key(standin: StandIn, partner: str) -> dict[str, str]:
    """The headers that carry the probe's key, as the partner wants them."""
    secret = getattr(standin.world.secrets, partner)
    return {name: form.format(key=secret) for name, form in PARTNERS[partner].key_headers.items()}


@pytest.mark.parametrize("partner", ["opentable", "recreation"])
async def test_answers_keep_the_contract_that_the_probe_holds_them_to(standin: StandIn, api: httpx.AsyncClient, partner: str) -> None:
    """Search and availability answer in the very form that kind booking expects, with something found."""
    base = standin.environment()[f"{partner.upper()}_URL"]
    found: dict[str, str] = {}
    for read in PARTNERS[partner].reads:
        path = read.path.replace("{{id}}", str(found.get("id")))
        answer = await api.request(read.method, base + path, headers=key(standin, partner))
        assert list(breaches(read.shape, answer.json())) == []
        results = answer.json()[read.results[0]]
        assert results
        found = {kept: results[0][name] for kept, name in read.takes.items()}


@pytest.mark.parametrize("partner", ["opentable", "recreation"])
async def test_a_wrong_key_is_refused(standin: StandIn, api: httpx.AsyncClient, partner: str) -> None:
    """Without the key it is 401."""
    path = PARTNERS[partner].reads[0].path
    assert (await api.get(standin.environment()[f"{partner.upper()}_URL"] + path)).status_code == 401


async def test_the_partners_limit_a_minute(standin: StandIn, api: httpx.AsyncClient, clock: FakeClock) -> None:
    """Recreation.gov answers 30 a minute to one key, then 429 until the minute is over."""
    url, headers = standin.environment()["RECREATION_URL"] + "/facilities", key(standin, "recreation")
    assert {(await api.get(url, headers=headers)).status_code for _ in range(30)} == {200}
    refused = await api.get(url, headers=headers)
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "60")
    clock.advance(60)
    assert (await api.get(url, headers=headers)).status_code == 200


async def test_availability_is_at_the_other_host_too(standin: StandIn, api: httpx.AsyncClient) -> None:
    """Recreation.gov's availability also answers where the real one has it; an unknown campground is 404."""
    base = standin.environment()["RECREATION_AVAILABILITY_URL"]
    assert (await api.get(f"{base}/232447/availability", headers=key(standin, "recreation"))).json()["campsites"]
    assert (await api.get(f"{base}/1/availability", headers=key(standin, "recreation"))).status_code == 404


async def test_a_booking_at_a_partner_is_noted_as_forbidden(standin: StandIn, api: httpx.AsyncClient) -> None:
    """Making and ending a reservation works, and leaves a trace that a test can look for."""
    base, headers = standin.environment()["OPENTABLE_URL"], key(standin, "opentable")
    assert (await api.post(f"{base}/reservations", headers=headers)).status_code == 201
    await api.delete(f"{base}/reservations/OT-1", headers=headers)
    assert standin.world.forbidden == ["opentable: POST /v2/reservations", "opentable: DELETE /v2/reservations/OT-1"]
