"""What the stand-in's model says to a prompt, and what it counts, in no vendor's form."""

from __future__ import annotations

import re
from dataclasses import dataclass

from demo._world import MODEL

MODELS = (MODEL, "gemini-1.5-flash", "gemini-2.0-flash-001", "gpt-4o-mini", "claude-sonnet-4-5")
TALE = (
    "Long before the highway, a mule train crossed this ridge by night. The driver, Inez, sang so that the animals would follow her "
    "voice and not the drop beside them. When the fog comes in over the water, people here still leave a lamp in the window, and say "
    "that it is for her."
)
_ONE_WORD = re.compile(r"one word only:\s*(\w+)", re.IGNORECASE)
_THOUGHT = "The user wants one word. "  # one token a word


@dataclass(frozen=True, slots=True)
class Reply:
    """What the model says to a prompt, in pieces, and what it counts."""

    model: str
    pieces: tuple[str, ...]
    prompt_tokens: int
    cut: bool
    thought: str = ""
    refused: bool = False  # by the model itself

    @property
    def text(self) -> str:
        """The whole text."""
        return "".join(self.pieces)

    @property
    def tokens(self) -> int:
        """Tokens of the answer without thoughts: one a piece."""
        return len(self.pieces)

    @property
    def thoughts(self) -> int:
        """Tokens of the thoughts: one a word."""
        return len(self.thought.split())

    @property
    def total(self) -> int:
        """Tokens of all."""
        return self.prompt_tokens + self.tokens + self.thoughts


def reply(model: str, prompt: str, most: int | None, *, thinks: bool = False, fault: str = "") -> Reply:
    """The model's answer to a prompt, at most so many tokens of it. `fault` is one of refuses, empty and thinks."""
    counted = max(1, len(re.findall(r"\w+|[^\w\s]", prompt)))
    if fault == "refuses":
        return Reply(model, ("I ", "can't ", "help ", "with ", "that."), counted, cut=False, refused=True)
    if fault == "empty":
        return Reply(model, (), counted, cut=False)
    if fault == "thinks":
        return Reply(model, (), counted, cut=True, thought=_THOUGHT * ((most or 20) // 5 + 1))
    found = _ONE_WORD.search(prompt)
    pieces = re.findall(r"\w{1,3}", found[1]) if found else re.findall(r"\S+\s*", TALE)
    kept = pieces if most is None else pieces[:most]
    return Reply(model, tuple(kept), counted, len(kept) < len(pieces), _THOUGHT if thinks else "")
