"""Requests signed by HMAC: what is signed, how it is encoded, and in which headers it is sent, all as checks.yaml says it."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import random
import re
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from typing import Literal, Self

import httpx
from pydantic import BaseModel, ConfigDict, Field, model_validator

from probes.expect.generated import Values
from probes.expect.template import TOTP, fill, is_generated, variables
from probes.fields import Headers, Key
from probes.http.message import Request
from probes.target import ascii_url

_BODY = re.compile(r"\{\{\s*body\s*\}\}")
_OF_REQUEST = ("method", "host", "path", "query", "url", "body", "body_sha256")
_ENCODE: dict[str, Callable[[bytes], str]] = {
    "hex": bytes.hex,
    "base64": lambda data: base64.b64encode(data).decode(),
    "base64url": lambda data: base64.urlsafe_b64encode(data).decode().rstrip("="),
}
_DECODE: dict[str, Callable[[str], bytes]] = {
    "text": str.encode,
    "hex": bytes.fromhex,
    "base64": lambda text: base64.b64decode(text, validate=True),
}


class Signature(BaseModel):
    """How a request is signed. `text` is what is signed; `headers` carry `{{signature}}` and what the server needs to check it."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    key: Key = Field(description="The secret that both sides know.")
    key_encoding: Literal["text", "base64", "hex"] = Field(default="text", description="How the key is written: text, base64 or hex.")
    algorithm: Literal["sha256", "sha1", "sha384", "sha512"] = Field(default="sha256", description="The hash function of the HMAC.")
    text: str = Field(
        default="{{method}}\n{{path}}\n{{body}}",
        description="What is signed: method, host, path, query, url (path and query), body, body_sha256 (hex), and generated values.",
    )
    encoding: Literal["hex", "base64", "base64url"] = Field(default="hex", description="How the signature is written.")
    headers: Headers = Field(
        description="The headers to send, with {{signature}} and generated values, such as X-Timestamp: '{{now unix}}'."
    )

    @model_validator(mode="after")
    def _can_work(self) -> Self:
        for where, names, known in (
            ("text", variables(self.text), _OF_REQUEST),
            ("headers", variables(self.headers), ("signature", *(name for name in _OF_REQUEST if name != "body"))),
        ):
            for name in names:
                if name not in known and (name == TOTP or not is_generated(name)):
                    raise ValueError(f"{where}: nothing fills in {{{{{name}}}}}; there are {', '.join(known)}, now and uuid")
        if "signature" not in variables(self.headers):
            raise ValueError("headers: none of them has {{signature}}")
        try:
            _ = self._secret
        except (ValueError, binascii.Error):
            raise ValueError(f"key: is not {self.key_encoding}") from None
        return self

    @cached_property
    def _secret(self) -> bytes:
        return _DECODE[self.key_encoding](self.key.get_secret_value())

    def signed(self, request: Request, now: float, rng: random.Random) -> Request:
        """The request with the headers of its signature. Generated values are the same in `text` and in `headers`."""
        url, body = httpx.URL(ascii_url(request.url)), request.body or b""
        values = Values(now, rng)
        values["method"], values["host"] = request.method, url.netloc.decode("ascii")
        values["path"], _, values["query"] = url.raw_path.decode("ascii").partition("?")
        values["url"], values["body_sha256"] = url.raw_path.decode("ascii"), hashlib.sha256(body).hexdigest()
        text = body.join(fill(piece, values).encode() for piece in _BODY.split(self.text))
        values["signature"] = _ENCODE[self.encoding](hmac.new(self._secret, text, self.algorithm).digest())
        own = {name: fill(value.get_secret_value(), values) for name, value in self.headers.items()}
        named = {name.lower() for name in own}
        return replace(request, headers={**{name: value for name, value in request.headers.items() if name.lower() not in named}, **own})
