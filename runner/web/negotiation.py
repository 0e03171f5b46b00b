"""What a client accepts: the format of /metrics by Accept, gzip by Accept-Encoding (RFC 9110, sections 12.5.1 and 12.5.3)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping


def wants_openmetrics(accept: str) -> bool:
    """Whether an Accept header prefers OpenMetrics 1.0 to plain text. A header without either gets plain text."""
    best = {"application/openmetrics-text": 0.0, "text/plain": 0.0}
    for media, given, weight in _listed(accept):
        if media in best and (media == "text/plain" or given.get("version", "1.0.0") == "1.0.0"):
            best[media] = max(best[media], weight)
    openmetrics, plain = best.values()
    return openmetrics > 0 and openmetrics >= plain


def wants_gzip(accept_encoding: str) -> bool:
    """Whether an Accept-Encoding header accepts gzip, and doesn't prefer the body as it is."""
    weights = {coding: weight for coding, _, weight in _listed(accept_encoding)}
    gzip = weights.get("gzip", weights.get("x-gzip", weights.get("*", 0.0)))
    return gzip > 0 and gzip >= weights.get("identity", 0.0)


def _listed(header: str) -> Iterator[tuple[str, Mapping[str, str], float]]:
    """The items of a header: name, parameters, and weight from 0 (not accepted) to 1. A weight that is no number counts as 0."""
    for one in header.split(","):
        name, *rest = (part.strip().lower() for part in one.split(";"))
        given = dict(part.split("=", 1) for part in rest if "=" in part)
        try:
            weight = float(given.get("q", "1"))
        except ValueError:
            weight = 0.0
        yield name, given, weight
