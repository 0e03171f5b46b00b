"""Looks for bytes that break one parser, guided by what code they reach: `python -m tests.faults.fuzz PARSER SECONDS FOLDER`.

It ends with 0 where it has found none. What it has found is in FOLDER, and its traceback on standard error.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import atheris

GUIDES: Mapping[str, tuple[str, ...]] = {  # the modules in which branches are counted; to prepare one takes time
    "http1": ("probes.http.http1", "probes.http.head", "probes.http.chunks", "probes.http.exchange"),
    "http1-strict": ("probes.http.http1", "probes.http.head", "probes.http.chunks", "probes.http.exchange"),
    "http2": ("probes.http.http2", "probes.http.exchange", "h2", "hpack", "hyperframe"),
    "websocket": ("probes.kinds.websocket.connection", "wsproto", "h11"),
    "redis": ("probes.kinds.redis.connection", "redis._parsers"),
    "dns": ("probes.kinds.dns", "dns.message", "dns.wire", "dns.rdata", "dns.name", "dns.edns"),
    "certificate": ("probes.wire.certificate",),
    "cookies": ("probes.http.cookies",),
    "charset": ("probes.http.charset",),
    "postgres-messages": ("probes.kinds.postgres.frames", "probes.kinds.postgres.session"),
    "postgres-values": ("probes.kinds.postgres.values",),
    "events": ("probes.kinds.ai.events", "probes.kinds.ai.chat"),
    "grpc": ("probes.kinds.grpc.messages",),
    "json-path": ("probes.expect.json_path", "jsonpath"),
    "response": ("probes.expect.status", "probes.http.message", "probes.http.charset"),
    "yaml": ("runner.config.document", "runner.config.nodes"),
    "urls": ("probes.kinds.postgres.dsn", "probes.kinds.redis.url", "probes.kinds.http", "probes.target", "probes.text"),
    "location": ("probes.http.redirects", "probes.target", "probes.text"),
    "encodings": ("probes.http.decoding",),
    "redaction": ("judge.redact", "judge.escapings"),
    "lines": ("probes.expect.dialogue",),
    "metrics": ("probes.kinds.metrics",),
}
SLOWEST = 10  # seconds for one input, on a machine that is busy
LONGEST_WORD = 64  # bytes, as libFuzzer takes it
LONGEST = 16_384  # bytes of an input
MOST = 512  # MiB of memory, the instrumented modules among them


def main(name: str, seconds: str, folder: str) -> None:
    """Fuzzes; ends the process."""
    with atheris.instrument_imports(include=list(GUIDES[name]), enable_loader_override=False):
        from tests.faults.parsers import PARSERS, WORDS  # noqa: PLC0415 - instrumented as they are imported

    corpus = Path(folder, "corpus")
    corpus.mkdir(parents=True)
    for number, seed in enumerate(PARSERS[name].seeds):
        Path(corpus, str(number)).write_bytes(seed)
    words = Path(folder, "words")
    escaped = ("".join(f"\\x{byte:02x}" for byte in word) for word in WORDS if len(word) <= LONGEST_WORD)
    words.write_text("".join(f'"{word}"\n' for word in escaped), encoding="ascii")
    limits = [f"-max_total_time={seconds}", f"-timeout={SLOWEST}", f"-rss_limit_mb={MOST}", f"-max_len={LONGEST}"]
    files = [f"-artifact_prefix={folder}/found-", f"-dict={words}", str(corpus)]
    atheris.Setup([sys.argv[0], *limits, *files], PARSERS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main(*sys.argv[1:])
