"""The budget of a model's check: tokens and money, reserved before the send and settled with the real usage."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from probes import Ledger, QuotaRefused, Rate
from probes.fields import TextSetting
from probes.kinds.ai.chat import Usage

_PRICE = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([A-Z]{3})/1 ?(k|K|M)\Z")
_TOKENS = {"k": 1000, "K": 1000, "M": 1_000_000}


@dataclass(frozen=True, slots=True)
class Price(TextSetting):
    """The price of a token in `unit`, a currency: 0.40 USD/1M, or 0.00025 USD/1k."""

    DESCRIPTION: ClassVar[str] = "a price for a thousand (1k) or a million (1M) tokens, such as 0.40 USD/1M"

    text: str
    per_token: float
    unit: str

    @classmethod
    def parse(cls, text: Any) -> Price:
        """Raises ValueError with what to write."""
        if isinstance(text, Price):
            return text
        if not isinstance(text, str) or not (found := _PRICE.match(text)):
            raise ValueError("write a price for a thousand or a million tokens, such as 0.40 USD/1M")
        return cls(text, float(found[1]) / _TOKENS[found[3]], found[2])


class Prices(BaseModel):
    """The service's prices for tokens. The defaults are an upper bound: almost every model is cheaper."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    prompt: Price = Field(default_factory=lambda: Price.parse("30 USD/1M"), description="The price of prompt tokens; 30 USD/1M by default.")
    answer: Price = Field(default_factory=lambda: Price.parse("60 USD/1M"), description="The price of reply tokens; 60 USD/1M by default.")

    @model_validator(mode="after")
    def _one_currency(self) -> Self:
        if self.prompt.unit != self.answer.unit:
            raise ValueError("prompt and answer must have the same currency")
        return self

    def cost(self, usage: Usage) -> float:
        """The cost of these tokens. Tokens of the total that are not of the prompt are priced as reply."""
        return usage.prompt * self.prompt.per_token + (usage.total - usage.prompt) * self.answer.per_token


class TokenBudget(BaseModel):
    """The most that prompts and replies together may use. It is never exceeded, also across restarts."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    tokens: Rate | None = Field(default=None, description="The most tokens in a period, such as 20000/1d; a day is a UTC day.")
    cost: Rate | None = Field(default=None, description="The most money in a period, such as 0.50 USD/1d.")

    @model_validator(mode="after")
    def _units(self) -> Self:
        if self.tokens and self.tokens.unit:
            raise ValueError("tokens have no currency; write 20000/1d")
        if self.cost and not self.cost.unit:
            raise ValueError("money has a currency; write 0.50 USD/1d")
        return self


@dataclass(frozen=True, slots=True)
class TokenQuota:
    """The budget of one check, and the most that one run may use of it."""

    check: str
    budget: TokenBudget
    prices: Prices
    worst: Usage

    async def reserve(self, ledger: Ledger) -> Sequence[int]:
        """Reserves the most that a run may use in every budget, or in none. Raises QuotaRefused. Returns the reservations."""
        reservations: list[int] = []
        try:
            for name, rate, amount in self._amounts(self.worst):
                reservations.append(await ledger.reserve(f"{self.check}/{name}", amount, rate.amount, rate.window))
        except QuotaRefused:
            for reservation in reservations:
                await ledger.settle(reservation, 0.0)
            raise
        return reservations

    async def settle(self, ledger: Ledger, reservations: Sequence[int], used: Usage) -> None:
        """Replaces the reserved amounts by the used ones."""
        for reservation, (_, _, amount) in zip(reservations, self._amounts(used), strict=True):
            await ledger.settle(reservation, amount)

    def _amounts(self, usage: Usage) -> list[tuple[str, Rate, float]]:
        amounts = [("tokens", self.budget.tokens, float(usage.total)), ("cost", self.budget.cost, self.prices.cost(usage))]
        return [(name, rate, amount) for name, rate, amount in amounts if rate is not None]
