"""Directions, stories and speech. A standard user gets no story, and with the model at work nobody does outside a conversation."""

from __future__ import annotations

import uuid
from typing import Any

import httpx
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from demo._database import Database, DatabaseDown
from demo._world import MODEL, World
from demo.api.trips import CANNED, DirectionsForm, StoryForm, routes_of, text_of_the_model
from demo.built.accounts import Accounts, Login
from demo.built.responses import Crash, body_of, stamp
from demo.built.sessions import Sessions

ANONYMOUS_CHARACTERS = 500
NO_STORY = "An error occurred during story generation."
VOICES = [
    {"name": f"en-US-{name}", "language_code": "en-US", "gender": gender, "premium": premium, "description": description}
    for name, gender, premium, description in (
        ("Standard-B", "MALE", False, "Standard male voice"),
        ("Standard-C", "FEMALE", False, "Standard female voice"),
        ("Studio-O", "FEMALE", True, "Premium high-quality female voice"),
        ("Neural2-F", "FEMALE", True, "Premium neural female voice"),
        ("Neural2-J", "MALE", True, "Premium neural male voice"),
    )
]


class ConversationForm(StoryForm):
    """What a story is asked for with."""

    conversation_id: str | None = None


class SpeechForm(BaseModel):
    """What speech is asked for with."""

    text: str = Field(min_length=1, max_length=5000)
    voice_name: str | None = None
    language_code: str = "en-US"
    permanent: bool = False


class Journeys:
    """What users come for."""

    def __init__(
        self, world: World, database: Database, sessions: Sessions, accounts: Accounts, client: httpx.AsyncClient, ai_url: str
    ) -> None:
        self._world, self._database, self._sessions, self._accounts = world, database, sessions, accounts
        self._client, self._ai_url = client, ai_url

    @property
    def _model_is_away(self) -> bool:
        return "ai-down" in self._world.faults

    async def directions(self, request: Request) -> Response:
        """Asks for no login: any bearer text gets past the CSRF check."""
        return JSONResponse({"routes": routes_of(await body_of(request, DirectionsForm))})

    async def voices(self, request: Request) -> Response:
        """Needs no database, and opens a session all the same. A bad token is refused nowhere. No voice has an id."""
        await self._sessions.begin()
        login = self._accounts.login_of(request)
        return JSONResponse([voice for voice in VOICES if not voice["premium"] or (login and login.premium)])

    async def synthesize(self, request: Request) -> Response:
        """Where the audio lies."""
        form, login = await body_of(request, SpeechForm), self._accounts.login_of(request)
        if login is None and len(form.text) > ANONYMOUS_CHARACTERS:
            raise HTTPException(400, "Text length exceeds limit for anonymous users. Please sign in.")
        paid = login is not None and login.premium
        if not paid and any(voice["premium"] and voice["name"] == form.voice_name for voice in VOICES):
            raise HTTPException(403, "This voice is only available for premium users.")
        if self._model_is_away:
            raise HTTPException(500, "An error occurred during speech synthesis.")
        place = f"https://storage.example/audio/{uuid.uuid4()}.mp3?signature=none"
        return JSONResponse({"audio_url": place, "expiration_minutes": 60 if paid else 30, "is_permanent": False})

    async def story(self, request: Request) -> Response:
        """A canned story where the model is away; with the model at work a story only inside a conversation."""
        form, login = await body_of(request, ConversationForm), self._accounts.login_of(request)
        await self._sessions.begin()
        if login is None and (form.save or form.style not in ("default", "family")):
            raise HTTPException(403, "This storytelling style is only available for authenticated users.")
        await self._count(login)
        if form.save or (form.conversation_id is None and not self._model_is_away):
            raise HTTPException(500, NO_STORY)
        start = self._world.clock.monotonic()
        text = await text_of_the_model(form, self._client, self._ai_url, self._world.secrets.application_key)
        canned = text is None
        story = CANNED if text is None else text
        metadata = {
            "generation_time": self._world.clock.monotonic() - start,
            "word_count": len(story.split()),
            "provider": "fallback" if canned else "google",
            "model": "fallback" if canned else MODEL,
            "sentiment": None if canned else {"score": 0.0, "magnitude": 0.0},
            "is_fallback": canned,
        }
        asked: dict[str, Any] = {"location": form.location.model_dump(), "interests": form.interests, "style": form.style}
        return JSONResponse({"id": None, "text": story, **asked, "metadata": metadata, "saved": False, "from_cache": False})

    async def _count(self, login: Login | None) -> None:
        """The daily count of a standard user compares a time with a number: the query fails. Raises Crash."""
        if login is None:
            return
        try:
            await self._database.ping()
        except DatabaseDown as problem:
            raise Crash from problem
        if not login.premium:
            raise Crash

    async def personalized(self, request: Request) -> Response:
        """Fails as the story does."""
        await body_of(request, ConversationForm)
        raise HTTPException(500, "An error occurred during personalized story generation.")

    async def saved(self, request: Request) -> Response:
        """No story was ever saved."""
        await self._accounts.need_login(request)
        return JSONResponse([])

    async def breakers(self, request: Request) -> Response:
        """For administrators; the score is 100 where there is no breaker at all."""
        login = await self._accounts.need_login(request)
        if not login.administers:
            raise HTTPException(403, "Admin access required")
        states = {"closed": 0, "open": 0, "half_open": 0}
        summary = {"total_circuit_breakers": 0, "states": states, "health_score": 100, "critical_services_affected": False}
        now = self._world.clock.time()
        return JSONResponse({"timestamp": stamp(now), "summary": summary, "circuit_breakers": {}})
