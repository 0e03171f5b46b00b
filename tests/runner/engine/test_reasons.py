"""Each exception that a run may end with: whose fault it is, which reason, which words."""

from __future__ import annotations

import asyncio
import errno
import re
import socket
import ssl
from typing import Any

import pytest

from probes.core import Failed, PolicyRefused, Reason, Verdict
from probes.probe import Context
from tests.support.lab import LibraryError, SpecialError, lab, raising


def caused(error: Exception, by: BaseException) -> Exception:
    """As `raise error from by`."""
    error.__cause__ = by
    return error


def certificate_error(code: int) -> ssl.SSLCertVerificationError:
    """As OpenSSL would report it."""
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_code, error.verify_message = code, "some words of OpenSSL"
    return error


OS = [
    (ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"), Reason.REFUSED, "the connection was refused in processing"),
    (ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"), Reason.RESET, "the connection was reset in processing"),
    (ConnectionResetError("Connection lost"), Reason.RESET, "Connection lost in processing"),
    (BrokenPipeError(errno.EPIPE, "Broken pipe"), Reason.RESET, "the connection was reset in processing"),
    (ConnectionAbortedError(errno.ECONNABORTED, "x"), Reason.RESET, "x in processing"),
    (OSError(errno.ENETUNREACH, "Network is unreachable"), Reason.UNREACHABLE, "Network is unreachable in processing"),
    (OSError(errno.EHOSTUNREACH, "No route to host"), Reason.UNREACHABLE, "No route to host in processing"),
    (PermissionError(errno.EPERM, "Operation not permitted"), Reason.UNREACHABLE, "Operation not permitted in processing"),
    (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), Reason.DNS, "Name or service not known in processing"),
    (ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number"), Reason.TLS, "TLS failed: .*wrong version number.* in processing"),
    (certificate_error(10), Reason.EXPIRED, "the certificate has expired in processing"),
    (certificate_error(9), Reason.NOT_YET_VALID, "the certificate is not valid yet"),
    (certificate_error(62), Reason.HOSTNAME, "the certificate is for another name"),
    (certificate_error(64), Reason.HOSTNAME, "the certificate is for another address"),
    (certificate_error(18), Reason.UNTRUSTED, "the certificate is self-signed"),
    (certificate_error(19), Reason.UNTRUSTED, "the chain ends at an untrusted authority"),
    (certificate_error(20), Reason.UNTRUSTED, "the issuer of the certificate is unknown"),
    (certificate_error(21), Reason.CHAIN, "sent only its own certificate, whose issuer is unknown"),
    (certificate_error(26), Reason.UNTRUSTED, "the certificate is not valid: some words of OpenSSL"),
    (asyncio.IncompleteReadError(b"abc", 10), Reason.TRUNCATED, "ended after 3 bytes"),
    (TimeoutError(), Reason.TIMEOUT, "no answer within .*ms in processing"),
    (Failed(Reason.BODY, "the body says no"), Reason.BODY, "^the body says no$"),
    (PolicyRefused("POST is not allowed"), Reason.POLICY, "^POST is not allowed$"),
    (LibraryError("a protocol error\nwith a second line"), Reason.PROTOCOL, "^a protocol error in processing$"),
    (SpecialError("role probe"), Reason.AUTH, "^role probe in processing$"),
    (caused(LibraryError("wrapped"), ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")), Reason.REFUSED, "was refused"),
    (caused(LibraryError("wrapped"), TimeoutError()), Reason.TIMEOUT, "no answer"),
    (caused(LibraryError("wrapped"), ValueError("?")), Reason.PROTOCOL, "wrapped"),
    (ExceptionGroup("several", [ExceptionGroup("deep", [Failed(Reason.STATUS, "503")])]), Reason.STATUS, "^503$"),
    (ExceptionGroup("several", [ValueError("?"), PolicyRefused("no")]), Reason.POLICY, "^no$"),
    (BaseExceptionGroup("several", [asyncio.CancelledError(), OSError(errno.ENETDOWN, "down")]), Reason.UNREACHABLE, "down"),
]


@pytest.mark.parametrize(("error", "reason", "message"), OS, ids=lambda v: type(v).__name__ if isinstance(v, BaseException) else None)
async def test_what_the_target_does_is_its_failure(error: BaseException, reason: Reason, message: str) -> None:
    """Each exception that the network, TLS or a library raises has its own reason and one calm sentence with the place."""
    async with lab() as bench:
        seen = await bench.observe(raising(error))
        for _ in range(20):  # a run that this machine had no time for says nothing of the table
            if seen.reason is Reason.STARVED:
                seen = await bench.observe(raising(error))
    assert (seen.verdict, seen.reason) == (Verdict.FAIL, reason)
    assert re.search(message, seen.message), seen.message
    assert "processing" in seen.phases
    assert bench.logged == []


OURS = [
    (OSError(errno.EMFILE, "Too many open files"), Reason.STARVED, "short of resources"),
    (OSError(errno.ENFILE, "Too many open files in system"), Reason.STARVED, "short of resources"),
    (OSError(errno.ENOMEM, "Cannot allocate memory"), Reason.STARVED, "short of resources"),
    (MemoryError(), Reason.STARVED, "out of memory"),
    (Failed(Reason.STARVED, "no more ports"), Reason.STARVED, "no more ports"),
    (ZeroDivisionError("division by zero"), Reason.INTERNAL, "the probe broke: ZeroDivisionError: division by zero"),
    (RecursionError("too deep"), Reason.INTERNAL, "the probe broke: RecursionError"),
    (FileNotFoundError(errno.ENOENT, "No such file"), Reason.INTERNAL, "the probe broke: FileNotFoundError"),
    (asyncio.CancelledError(), Reason.INTERNAL, "the run cancelled itself"),
    (SystemExit(1), Reason.INTERNAL, "the probe tried to end the process"),
    (ExceptionGroup("several", [KeyError("k")]), Reason.INTERNAL, "KeyError"),
]


@pytest.mark.parametrize(("error", "reason", "message"), OURS, ids=lambda v: type(v).__name__ if isinstance(v, BaseException) else None)
async def test_what_goes_wrong_with_us_is_no_red_light(error: BaseException, reason: Reason, message: str) -> None:
    """Our own shortages and bugs are unknown; a bug is logged with the place where it happened."""
    async with lab() as bench:
        seen = await bench.observe(raising(error))
    assert (seen.verdict, seen.reason) == (Verdict.UNKNOWN, reason)
    assert message in seen.message
    assert bool(bench.logged) == (reason is Reason.INTERNAL)


async def test_what_is_no_result_is_a_fault_of_the_kind() -> None:
    """A kind from elsewhere that returns nothing is unknown / internal, and stops nothing."""

    async def run(_: Context) -> Any:
        return None

    async with lab() as bench:
        seen = await bench.observe(run)
    assert (seen.verdict, seen.reason) == (Verdict.UNKNOWN, Reason.INTERNAL)
    assert "NoneType instead of a Result" in seen.message
