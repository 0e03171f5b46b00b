"""What PostgreSQL and Redis say themselves when they are unwell, word for word, from servers that say nothing else."""

from __future__ import annotations

import struct
from collections.abc import Mapping

from probes.core import Reason
from tests.faults.rows import Case
from tests.support import servers

OK, PONG = b"+OK\r\n", b"+PONG\r\n"


def fatal(state: str, text: str) -> bytes:
    """An error of PostgreSQL's that ends the session."""
    fields = (("S", "FATAL"), ("V", "FATAL"), ("C", state), ("M", text))
    said = b"".join(code.encode() + value.encode() + b"\0" for code, value in fields)
    return b"E" + struct.pack("!i", len(said) + 5) + said + b"\0"


def _says(asking: str, reason: Reason, *answers: bytes) -> Case:
    return Case(lambda _: servers.canned(*answers, then_close=True), (asking,), frozenset({reason}))


WORDS: Mapping[str, Case] = {  # by what stands in every message
    "in recovery mode": _says("postgres", Reason.STATUS, fatal("57P03", "the database system is in recovery mode")),
    "starting up": _says("postgres", Reason.STATUS, fatal("57P03", "the database system is starting up")),
    "shutting down": _says("postgres", Reason.STATUS, fatal("57P03", "the database system is shutting down")),
    "too many clients": _says("postgres", Reason.STATUS, fatal("53300", "sorry, too many clients already")),
    "login refused": _says("postgres", Reason.AUTH, fatal("28P01", 'password authentication failed for user "outrider"')),
    "LOADING": _says("redis", Reason.STATUS, b"-LOADING Redis is loading the dataset in memory\r\n"),
    "max number of clients": _says("redis", Reason.STATUS, b"-ERR max number of clients reached\r\n"),
    "WRONGPASS": _says("redis", Reason.AUTH, b"-WRONGPASS invalid username-password pair or user is disabled.\r\n"),
    "NOPERM": _says("redis", Reason.AUTH, OK, PONG, b"-NOPERM User outrider has no permissions\r\n"),
    "READONLY": _says("redis", Reason.BODY, OK, PONG, b"-READONLY You can't write against a read only replica.\r\n"),
    "OOM": _says("redis", Reason.STATUS, OK, PONG, b"-OOM command not allowed when used memory > 'maxmemory'.\r\n"),
    "10.0.0.7:6381": _says("redis", Reason.REDIRECT, OK, PONG, b"-MOVED 3999 10.0.0.7:6381\r\n"),
}
