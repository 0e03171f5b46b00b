"""Kind `metrics`: scrapes a target's /metrics, and compares what is there with a contract."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, PrivateAttr, ValidationInfo, model_validator

from probes import Ask, Context, Failed, Family, OptionalFile, Reason, Result, Size, fact_family, keyed_family
from probes.expect.metric_contract import FamilyContract, MetricName, read_contract
from probes.expect.status import any_success, judge_status
from probes.http.message import Request, Response
from probes.http.probe import CredentialsProbe, http_families
from probes.kinds.metrics.counters import Comparison, Scrapes
from probes.kinds.metrics.judge import Fault, PageJudge, unusual_names
from probes.kinds.metrics.page import Page
from probes.text import count, did_you_mean

BODY_CAP = 10 * 1024 * 1024  # bytes
SERIES = 20_000  # of a page, unless a check says otherwise
_NAMED = 3  # faults that a message names
_TEXT = "text/plain"
_OPENMETRICS = "application/openmetrics-text"
_ACCEPT = {
    "auto": f"{_OPENMETRICS};version=1.0.0,{_TEXT};version=0.0.4;q=0.5,*/*;q=0.1",
    "openmetrics": f"{_OPENMETRICS};version=1.0.0",
    "text": f"{_TEXT};version=0.0.4",
}


class Metrics(CredentialsProbe):
    """Scrapes a page of metrics and compares it with a contract: families, types, labels, samples, values, and how many series there are.

    A family that is declared and has no sample breaks it, as does a counter that falls while its process goes on.
    """

    examples: ClassVar[tuple[dict[str, Any], ...]] = (
        {"url": "http://127.0.0.1:9/metrics", "families": {"http_requests_total": {"type": "counter", "labels": ["status"]}}},
        {"url": "http://127.0.0.1:9/metrics", "bearer": "example-token-1", "conventions": "page", "series": 5000},
    )
    families: ClassVar[tuple[Family, ...]] = (
        *http_families(),
        fact_family("probe_metrics_series", "Series on the page that was scraped", "series"),
        fact_family("probe_metrics_families", "Families on the page that was scraped", "families"),
        fact_family("probe_metrics_contract_breaches", "Breaches of the contract by the page that was scraped", "contract_breaches"),
        keyed_family("probe_metrics_family_series", "Series of the families that the contract names", "series", "family"),
    )

    contract: OptionalFile = Field(default=None, description="A file with the families that the target promises.")
    promised: dict[MetricName, FamilyContract] = Field(
        default={}, alias="families", max_length=100, description="Families in addition to the contract file's, or instead of its entries."
    )
    aliases: dict[MetricName, MetricName] = Field(
        default={}, description="By the contract's name, the name that the target uses for a family."
    )
    conventions: Literal["none", "contract", "page"] = Field(
        default="contract",
        description="Whose names must follow the conventions: nobody's, the contract's families', or the whole page's.",
    )
    counters: bool = Field(default=True, description="false: a counter that falls between two runs is no failure.")
    format: Literal["auto", "text", "openmetrics"] = Field(default="auto", description="The format to ask for; by default either.")
    series: int = Field(default=SERIES, ge=1, le=200_000, description="The most series that the page may have.")
    body_cap: Size = Field(default=BODY_CAP, description="The longest page; a longer one fails with reason size.")
    _contract: dict[str, FamilyContract] = PrivateAttr(default_factory=dict)

    @model_validator(mode="after")
    def _read_contract(self, info: ValidationInfo) -> Self:
        if self.contract is None or (info.context or {}).get("files"):
            promised = read_contract(Path(self.contract)).families if self.contract else {}
            self._contract = {**promised, **self.promised}
            if unknown := next((name for name in self.aliases if name not in self._contract), None):
                raise ValueError(f"aliases: {unknown} is no family of the contract{did_you_mean(unknown, self._contract)}")
        return self

    def files(self) -> tuple[Path, ...]:
        return (Path(self.contract),) if self.contract else ()

    def asks(self) -> tuple[Ask, ...]:
        return (Ask("GET", self.location(), ("path",) if self.path else ()),)

    async def run(self, ctx: Context) -> Result:
        headers = {"Accept": _ACCEPT[self.format]} | self.base_headers() | self.own_headers()
        async with self.session() as session:
            response = await session.send(ctx, Request("GET", self.location(), headers), cap=self.body_cap)
        judge_status(response, any_success())
        response.check_body()
        scrapes = ctx.wire.shared(Scrapes)
        judge, counters = PageJudge(self._contract, self.aliases, ctx.clock.time()), Comparison(scrapes.latest.get(ctx.check))
        page = await self._read(response, judge, counters)
        scrapes.latest[ctx.check] = counters.now
        found = judge.found(page.families)
        ctx.facts |= {"series": page.series, "families": len(page.families)}
        ctx.facts |= {f"series.{name}": family.series for name, family in found.items()}
        broken = judge.faults(page.families, conventions=self.conventions == "contract")
        ctx.facts["contract_breaches"] = sum(map(len, broken.values()))
        others = unusual_names(page.families) if self.conventions == "page" else []
        if counters.restarted:
            ctx.facts["restarted"] = True
        elif self.counters:
            others += [(Reason.BODY, fall) for fall in counters.falls]
        if faults := [fault for those in broken.values() for fault in those] + others:
            return self._failed(ctx, broken, faults)
        kept = f"{count(len(self._contract), 'family', 'families')} of the contract, " if self._contract else ""
        restarted = "; another process than at the run before" if counters.restarted else ""
        return Result.passed(f"{kept}{count(page.series, 'series', 'series')} on the page{restarted}")

    async def _read(self, response: Response, judge: PageJudge, counters: Comparison) -> Page:
        """Reads the page, and lets the loop do other work after each batch of lines."""
        form = (response.header("content-type") or "").partition(";")[0].strip().lower()
        page = Page(response.body, openmetrics=form == _OPENMETRICS, most=self.series)
        try:
            for batch in page.batches():
                for sample in batch:
                    judge.add(sample)
                    counters.add(sample, may_fall=sample.family.name in judge.may_fall)
                await asyncio.sleep(0)
        except Failed as failed:
            if failed.reason is not Reason.SCHEMA or form in (_TEXT, _OPENMETRICS):
                raise
            raise Failed(failed.reason, f"{failed.message}; the content type is {form or 'absent'}") from None
        return page

    def _failed(self, ctx: Context, broken: dict[str, list[Fault]], faults: list[Fault]) -> Result:
        ctx.evidence["breaches"] = [message for _, message in faults]
        some = "; ".join(message for _, message in faults[:_NAMED])
        more = f"; and {len(faults) - _NAMED:,} more" if len(faults) > _NAMED else ""
        many = f"{len(broken):,} of {count(len(self._contract), 'family', 'families')} break the contract: " if len(broken) > 1 else ""
        return Result.failed(faults[0][0], f"{many}{some}{more}")
