"""The voice: speech out of text, text out of speech, and the assistant in the car."""

from __future__ import annotations

import base64
import uuid
from typing import Any

from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from demo._responses import Trouble, body_of, json_of
from demo._world import World
from demo.api.auth import Auth

ANONYMOUS_LETTERS = 500
VOICES = [
    {"name": f"en-US-{name}", "language_code": "en-US", "gender": gender, "premium": premium, "description": description}
    for name, gender, premium, description in (
        ("Standard-C", "FEMALE", False, "A clear voice"),
        ("Standard-D", "MALE", False, "A calm voice"),
        ("Neural2-A", "MALE", True, "A warm voice"),
        ("Neural2-C", "FEMALE", True, "A lively voice"),
        ("Neural2-F", "FEMALE", True, "A deep voice"),
    )
]


class SpeechForm(BaseModel):
    """What speech is asked for with."""

    text: str = Field(min_length=1, max_length=5000)
    voice_name: str | None = None
    language_code: str = "en-US"
    permanent: bool = False


class Voice:
    """Speech routes."""

    def __init__(self, world: World, auth: Auth) -> None:
        self._world, self._auth = world, auth

    def routes(self) -> list[Route]:
        """The routes of this room."""
        return [
            Route("/api/tts/voices", self.voices),
            Route("/api/tts/synthesize", self.synthesize, methods=["POST"]),
            Route("/api/stt/transcribe", self.transcribe, methods=["POST"]),
            Route("/api/voice/process", self.process, methods=["POST"]),
            Route("/api/voice/status", self.status),
            Route("/api/voice/metrics", self.metrics),
            Route("/api/voice-assistant/interact", self.interact, methods=["POST"]),
            Route("/api/voice-assistant/booking-action", self.act_on_booking, methods=["POST"]),
        ]

    async def voices(self, _request: Request) -> Response:
        """A list that never changes, for users that don't pay: what a user asks for first."""
        return JSONResponse([voice for voice in VOICES if not voice["premium"]])

    async def synthesize(self, request: Request) -> Response:
        """Where the audio of a text lies; 500 letters without a login."""
        form, user = await body_of(request, SpeechForm), self._auth.user_of(request)
        if user is None and len(form.text) > ANONYMOUS_LETTERS:
            raise Trouble(400, f"Sign in for texts above {ANONYMOUS_LETTERS} characters")
        if form.voice_name is not None and form.voice_name not in {voice["name"] for voice in VOICES}:
            raise Trouble(400, f"Unknown voice {form.voice_name}")
        place = f"https://storage.example/roadtrip-audio/{uuid.uuid4()}.mp3"
        return JSONResponse({"audio_url": place, "expiration_minutes": 30, "is_permanent": False})

    async def transcribe(self, request: Request) -> Response:
        """200 with an error text when it fails, as the real one."""
        body = await json_of(request)
        try:
            sound = base64.b64decode(body["audio_base64"], validate=True)
        except (ValueError, LookupError, TypeError):
            return JSONResponse({"transcript": "", "error": "audio_base64 is no base64"})
        return JSONResponse({"transcript": f"{len(sound)} bytes of sound", "error": None})

    async def process(self, request: Request) -> Response:
        """One turn of the assistant, by voice."""
        self._auth.need_user(request)
        await json_of(request)
        return JSONResponse(
            {"voice_audio": "", "transcript": "what is that mountain", "visual_data": {}, "actions_taken": [], "state": "idle"}
        )

    async def status(self, request: Request) -> Response:
        """Always the same, as the real one."""
        self._auth.need_user(request)
        return JSONResponse({"status": "operational", "features": ["navigation", "stories", "booking"]})

    async def metrics(self, request: Request) -> Response:
        """The breakers' states and the times of the last hour."""
        self._auth.need_user(request)
        breakers: dict[str, Any] = dict.fromkeys(("stt", "tts", "ai", "booking"), "closed")
        return JSONResponse({"real_time": {"active_sessions": 0}, "trends": {}, "errors": {}, "circuit_breakers": breakers})

    async def interact(self, request: Request) -> Response:
        """One turn of the assistant, by text."""
        self._auth.need_user(request)
        body = await json_of(request)
        spoken = str((body.get("voice_input") or {}).get("text", "")) if isinstance(body, dict) else ""
        return JSONResponse({"response": {"text": f"You said: {spoken[:200]}", "intent": "smalltalk"}, "session_id": str(uuid.uuid4())})

    async def act_on_booking(self, request: Request) -> Response:
        """Books in the real one: no probe may come here. Here it is only noted."""
        self._world.forbidden.append("POST /api/voice-assistant/booking-action")
        self._auth.need_user(request)
        return JSONResponse({"status": "confirmed"})
