"""The reason and message of each exception: pure. Only execute turns exceptions into verdicts with it, and a diagnosis its trials."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections.abc import Iterator
from dataclasses import replace

from probes.core import SHORTAGES, Failed, PolicyRefused, QuotaRefused, Reason, Result, Verdict
from probes.probe import Context, Probe
from probes.text import setting
from probes.wire.tls import broken

_OF_THE_RUNNER = frozenset(
    {Reason.STARVED, Reason.OFFLINE, Reason.CANCELLED, Reason.INTERNAL, Reason.QUOTA}
)  # reasons that say nothing of the target
_WITHOUT_CONNECTION = frozenset({Reason.REFUSED, Reason.UNREACHABLE})  # only happen in `connect`, which the message implies
_UNREACHABLE = frozenset(
    {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EHOSTDOWN, errno.EADDRNOTAVAIL, errno.EACCES, errno.EPERM}
)
_NETWORK: tuple[tuple[type[OSError], Reason, str], ...] = (
    (socket.gaierror, Reason.DNS, "the name can't be resolved"),
    (ConnectionRefusedError, Reason.REFUSED, "the connection was refused"),
    (ConnectionError, Reason.RESET, "the connection was reset"),
)
# X509_V_ERR_* of OpenSSL's x509_vfy.h
_CERTIFICATES: dict[int, tuple[Reason, str]] = {
    9: (Reason.NOT_YET_VALID, "the certificate is not valid yet"),
    10: (Reason.EXPIRED, "the certificate has expired"),
    18: (Reason.UNTRUSTED, "the certificate is self-signed"),
    19: (Reason.UNTRUSTED, "the chain ends at an untrusted authority"),
    20: (Reason.UNTRUSTED, "the issuer of the certificate is unknown"),
    21: (Reason.CHAIN, "the server sent only its own certificate, whose issuer is unknown"),
    62: (Reason.HOSTNAME, "the certificate is for another name"),
    64: (Reason.HOSTNAME, "the certificate is for another address"),
}


def unwrapped(error: BaseException) -> BaseException:
    """The exception of a group that decides: the first one that is no cancellation. Any other exception is returned as it is.

    A refusal or a failure decides also if a library raised its own exception from it, as httpx does with the transport's.
    """
    leaves = [leaf for leaf in _leaves(error) if not isinstance(leaf, asyncio.CancelledError)]
    decisions = [cause for leaf in leaves for cause in _causes(leaf) if isinstance(cause, QuotaRefused | PolicyRefused | Failed)]
    return (decisions or leaves or [error])[0]


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The exception, its cause, the cause's cause and so on, each once."""
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        yield cause
        seen.add(id(cause))
        cause = cause.__cause__


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


def result_of(error: BaseException, probe: Probe, ctx: Context) -> Result | None:
    """The verdict of an exception; None for an unexpected one, which is a fault of the runner or of a kind."""
    if isinstance(error, Failed):
        return replace(_result(error.reason, error.message), answered=error.answered)
    if isinstance(error, PolicyRefused):
        return Result.failed(Reason.POLICY, error.message)
    if found := _by_cause(error, probe, ctx):
        reason, message = found
        return _result(reason, message + position(ctx, implied="connect" if reason in _WITHOUT_CONNECTION else ""))
    return None


def timed_out(timeout: float, ctx: Context) -> Result:
    """The verdict of a run that reached its deadline."""
    came = f"; {ctx.unfinished}" if ctx.unfinished else ""
    return Result.failed(Reason.TIMEOUT, f"no answer within {setting(timeout)}{position(ctx)}{came}")


def position(ctx: Context, *, implied: str = "") -> str:
    """The phase and step at which a run stopped: ` in tls of step login`. The phase `implied` by the message isn't repeated."""
    step = ctx.halted_step or ctx.step
    phase = ctx.halted_in if ctx.halted_in != implied else ""
    return (f" in {phase}" if phase else "") + (f" {'of' if phase else 'in'} step {step}" if step else "")


def _result(reason: Reason, message: str) -> Result:
    return Result(Verdict.UNKNOWN if reason in _OF_THE_RUNNER else Verdict.FAIL, reason, message)


def _by_cause(error: BaseException, probe: Probe, ctx: Context) -> tuple[Reason, str] | None:
    """The reason of the first network error among the causes; else the reason that the kind declares for the error."""
    for cause in _causes(error):
        if (declared := _declared(cause, probe)) and not isinstance(cause.__cause__, OSError):
            return declared, _first_line(cause)
        if known := _by_type(cause, ctx):
            return known
    return (declared, _first_line(error)) if (declared := _declared(error, probe)) else None


def _declared(error: BaseException, probe: Probe) -> Reason | None:
    """The reason that a kind declares for an error, the most specific class first."""
    fitting = [kind for kind in probe.errors if isinstance(error, kind)]
    return probe.errors[max(fitting, key=lambda kind: len(kind.__mro__))] if fitting else None


def _by_type(error: BaseException, ctx: Context) -> tuple[Reason, str] | None:
    if isinstance(error, MemoryError):
        return Reason.STARVED, "the runner is out of memory"
    if isinstance(error, asyncio.IncompleteReadError):
        return Reason.TRUNCATED, f"the connection ended after {len(error.partial)} bytes of a response"
    if isinstance(error, ssl.SSLError):
        return _tls(error)
    return _of_the_system(error, ctx) if isinstance(error, OSError) else None


def _of_the_system(error: OSError, ctx: Context) -> tuple[Reason, str] | None:
    if error.errno in SHORTAGES:
        return Reason.STARVED, f"the runner is short of resources ({error.strerror})"
    if isinstance(error, TimeoutError):
        return Reason.TIMEOUT, f"no answer within {setting(ctx.clock.monotonic() - ctx.started)}"
    for kind, reason, words in _NETWORK:
        if isinstance(error, kind):
            return reason, _first_line(error, words)
    if error.errno in _UNREACHABLE:
        return Reason.UNREACHABLE, _first_line(error, "the address can't be reached")
    return None


def _tls(error: ssl.SSLError) -> tuple[Reason, str]:
    if isinstance(error, ssl.SSLCertVerificationError):
        return _CERTIFICATES.get(error.verify_code, (Reason.UNTRUSTED, f"the certificate is not valid: {error.verify_message}"))
    failed = broken(error)
    return failed.reason, failed.message


def _first_line(error: BaseException, otherwise: str = "") -> str:
    """The error's first line; for a system error its text, or `otherwise` if that is only the text of errno."""
    if isinstance(error, OSError) and error.strerror and error.errno:
        plain = error.strerror.lower() in ("connection refused", "connection reset by peer", "broken pipe")
        return otherwise if plain and otherwise else error.strerror
    return (str(error).strip().splitlines() or [otherwise or type(error).__name__])[0]
