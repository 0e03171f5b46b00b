"""TCP: connections, TLS, dialogues of lines and of bytes, and address families."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any

from tests.exporter.scenario import FAIL, PASS, RELEASE, Scenario, Serve
from tests.exporter.serving import closing, lines, refusing, silent
from tests.support import servers
from tests.support.ca import Authority
from tests.support.servers import Server

LABELS = "labels of ours are pairs of name and value, so that a family keeps its labels; theirs are labels of the series"
DIALLED = "ours is the family that was connected to, theirs the one that was chosen to try"
NO_LABELS, NO_BYTES = f"release {RELEASE} has no labels of lines", f"release {RELEASE} reads no bytes"
NAMES = "which addresses localhost has, and on which of them a server listens, differs from machine to machine"
WAITED = "at the deadline ours says that it waited for a line; theirs says so only of a connection that was closed"


def tcp(
    name: str,
    serve: Serve,
    passes: bool,  # noqa: FBT001 - as in every row
    module: Mapping[str, Any] | None = None,
    check: Mapping[str, Any] | None = None,
    host: str = "127.0.0.1",
    **more: Any,
) -> Scenario:
    """A row of a connection."""
    settings = {"preferred_ip_protocol": "ip4", **(module or {})}
    asked = {"kind": "tcp", "host": host, "port": "<port>", **(check or {})}
    more = {"target": f"{host}:<port>", **more}
    return Scenario(f"tcp: {name}", passes, serve, {"prober": "tcp", "tcp": settings}, check=asked, **more)


def _mail(authority: Authority) -> AbstractAsyncContextManager[Server]:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 ESMTP StartTLS pseudo-server\n")
        await reader.readline()
        writer.write(b"250-pseudo-server.example.net\n250-STARTTLS\n250 DSN\n")
        await reader.readline()
        writer.write(b"220 2.0.0 Ready to start TLS\n")
        await writer.start_tls(authority.good)
        await reader.readline()
        writer.write(b"250-AUTH\n250 DSN\n")
        await reader.read()

    return servers.speaking(talk)


def connections() -> Iterator[Scenario]:
    """Accepted, refused, and with TLS."""
    yield tcp("a connection", silent, passes=PASS)
    yield tcp("nobody listens", refusing, passes=FAIL, metrics={"probe_ip_protocol": DIALLED})
    yield tcp("port 0", refusing, FAIL, target=":0", check={"port": 0}, refused="greater than or equal to 1")
    trusted = {"tls": True, "tls_config": {"ca_file": "<ca>"}}
    ours = {"tls": {"ca": "<ca>"}}
    yield tcp("TLS for another name", lines(tls="wrong_host"), FAIL, trusted, ours)
    for host in ("localhost", "127.0.0.1"):
        yield tcp(f"TLS for the name {host}", lines(tls="old"), PASS, trusted, {**ours, "ip": 4} if host == "localhost" else ours, host)
    named = {"tls": True, "tls_config": {"ca_file": "<ca>", "server_name": "good.test"}}
    yield tcp("TLS for a name of the settings", lines(tls="old"), PASS, named, {"tls": {"ca": "<ca>", "server_name": "good.test"}})
    yield tcp("the verified chain", lines(tls="soon"), PASS, trusted, ours)


def families() -> Iterator[Scenario]:
    """One family, a preferred one, and any."""
    for protocol, family in (("ip4", 4), ("ip4", "prefer4")):
        module = {"preferred_ip_protocol": protocol, "ip_protocol_fallback": family != 4}
        yield tcp(f"family {family}", silent, PASS, module, {"ip": family}, "localhost")
    only_six = {"preferred_ip_protocol": "ip6", "ip_protocol_fallback": False}
    yield tcp("family 6 of a literal IPv4 address", silent, FAIL, only_six, {"ip": 6})
    yield tcp("family 6 where nobody listens", silent, FAIL, only_six, {"ip": 6}, "localhost")
    either = {"preferred_ip_protocol": "ip6", "ip_protocol_fallback": True}
    for name, family in (("family 6 before 4", "prefer6"), ("any family", "any")):
        yield tcp(name, silent, PASS, either, {"ip": family}, "localhost", unasked=NAMES)


def dialogues() -> Iterator[Scenario]:
    """Lines that come or don't, bytes, STARTTLS and labels."""
    steps = [
        *({"expect": "^220.*ESMTP.*$"}, {"send": "EHLO tls.prober"}, {"expect": "^250-STARTTLS"}, {"send": "STARTTLS"}),
        *({"expect": "^220"}, {"starttls": True}, {"send": "EHLO tls.prober"}, {"expect": "^250-AUTH"}, {"send": "QUIT"}),
    ]
    mail = {"query_response": steps, "tls_config": {"ca_file": "<ca>"}}
    yield tcp("STARTTLS", _mail, PASS, mail, {"dialogue": steps, "tls": {"ca": "<ca>"}})
    steps = [{"send": "NICK prober"}, {"send": "USER prober prober prober :prober"}, {"expect": "^:[^ ]+ 001"}]
    notice = b":ircd.localhost NOTICE AUTH :*** Looking up your hostname...\n"
    irc: list[tuple[bytes, bool]] = [(b":ircd.localhost 001 prober :Welcome to IRC!\n", True), (b"ERROR: blacklisted.\n", False)]
    for answer, passes in irc:
        serve = lines(answer, greeting=notice)
        yield tcp(f"IRC, {answer.decode().strip()}", serve, passes, {"query_response": steps}, {"dialogue": steps})
    banner = b"SSH-2.0-OpenSSH_6.9p1 Debian-2\n"
    labels = [{"name": "ssh_version", "value": "${1}"}, {"name": "ssh_comments", "value": "${2}"}]
    theirs = {"expect": "^SSH-2.0-([^ -]+)(?: (.*))?$", "send": "CONFIRM ${1}", "labels": labels}
    ours = {
        "expect": "^SSH-2.0-(?P<version>[^ -]+)(?: (?P<comments>.*))?$",
        "send": "CONFIRM {{version}}",
        "labels": {"ssh_version": "{{version}}", "ssh_comments": "{{comments}}"},
    }
    pair = {"query_response": [theirs]}, {"dialogue": [ours]}
    yield tcp("SSH's banner", lines(b"", greeting=banner), PASS, *pair, metrics={"probe_expect_info": LABELS}, unasked=NO_LABELS)
    words = [{"name": "label1", "value": "got ${1} here"}, {"name": "label2", "value": "${1} on ${2}"}]
    pair = (
        {"query_response": [{**theirs, "labels": words}]},
        {"dialogue": [{**ours, "labels": {"label1": "got {{version}} here", "label2": "{{version}} on {{comments}}"}}]},
    )
    yield tcp(
        "labels of several groups", lines(b"", greeting=banner), PASS, *pair, metrics={"probe_expect_info": LABELS}, unasked=NO_LABELS
    )
    for came, passes in ((b"not-a-line", True), (b"something-else", False)):
        pair = {"query_response": [{"expect_bytes": "not-a-line"}]}, {"dialogue": [{"expect_hex": b"not-a-line".hex()}]}
        yield tcp(f"bytes, {came.decode()}", lines(greeting=came), passes, *pair, unasked=NO_BYTES)
    wait = {"query_response": [{"expect": "SSH-2.0-(OpenSSH_6.9p1) Debian-2"}]}, {"dialogue": [{"expect": "SSH-2.0-OpenSSH_6.9p1"}]}
    yield tcp("a close instead of a line", closing, FAIL, *wait)
    yield tcp("silence instead of a line", silent, FAIL, *wait, metrics={"probe_failed_due_to_regex": WAITED}, timeout="1s")


SCENARIOS = (*connections(), *families(), *dialogues())
