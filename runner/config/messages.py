"""Says what pydantic found in the words of checks.yaml. Works from places and types: no value is ever repeated."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

from probes.text import did_you_mean
from runner.config.errors import Path
from runner.config.nodes import Items, Keys, Node, Scalar
from runner.config.placeholders import Filled

EMPTY = "is empty; write a value, or remove the line"
_PLAIN = {
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "decimal_type": "must be a number",
    "decimal_parsing": "must be a number",
    "tuple_type": "must be a list, such as [one, two]",
    "list_type": "must be a list, such as [one, two]",
    "set_type": "must be a list, such as [one, two]",
    "frozen_set_type": "must be a list, such as [one, two]",
    "dict_type": "must be a mapping of keys to values",
    "mapping_type": "must be a mapping of keys to values",
    "model_type": "must be a mapping of keys to values",
    "model_attributes_type": "must be a mapping of keys to values",
    "dataclass_type": "must be a mapping of keys to values",
    "path_type": "must be a path",
}
# What other tools call a kind, and the kind here.
KINDS_ELSEWHERE = {
    **dict.fromkeys(("ping", "ping6"), "icmp"),
    **dict.fromkeys(("ws", "wss"), "websocket"),
    **dict.fromkeys(("ssl", "cert", "certificate", "starttls"), "tls"),
    **dict.fromkeys(("port", "tcp_connect", "socket"), "tcp"),
    **dict.fromkeys(("pg", "psql", "postgresql", "sql"), "postgres"),
    **dict.fromkeys(("valkey", "cache"), "redis"),
    **dict.fromkeys(("llm", "openai", "gemini", "anthropic"), "ai"),
    **dict.fromkeys(("web", "url", "rest", "curl", "keyword", "json"), "http"),
    **dict.fromkeys(("scenario", "multistep", "browser", "flow"), "journey"),
}
# What blackbox_exporter, Gatus, Uptime Kuma and others call it, and the setting here.
_ELSEWHERE = {
    **dict.fromkeys(("body", "body_contains", "contains", "keyword"), "text"),
    **dict.fromkeys(("fail_if_body_not_matches_regexp", "body_matches", "pattern"), "regex"),
    **dict.fromkeys(("fail_if_body_matches_regexp", "not_matches"), "not_regex"),
    **dict.fromkeys(("status_code", "status_codes", "valid_status_codes", "accepted_statuscodes", "code"), "status"),
    **dict.fromkeys(("max_latency", "latency", "response_time", "max_response_time", "max_duration"), "within"),
    **dict.fromkeys(("retries", "max_retries", "maxretries", "failure-threshold", "failure_threshold", "attempts"), "confirm"),
    **dict.fromkeys(("every", "frequency", "period", "scrape_interval"), "interval"),
    **dict.fromkeys(("conditions", "assertions", "assert"), "expect"),
    **dict.fromkeys(("endpoints", "monitors", "probes", "modules"), "checks"),
    **dict.fromkeys(("alerts", "alerting", "severity"), "alert"),
    **dict.fromkeys(("group", "groups", "labels"), "tags"),
    **dict.fromkeys(("ip_protocol", "preferred_ip_protocol"), "ip"),
    **dict.fromkeys(("follow_redirects", "max_redirects", "maxredirects"), "redirects"),
    **dict.fromkeys(("insecure", "insecure_skip_verify", "ignore_tls", "tls_config"), "tls"),
    **dict.fromkeys(("disabled", "paused", "active"), "enabled"),
    "schedule": "cron",
    "proxy_url": "proxy",
    "basic_auth": "basic",
    "bearer_token": "bearer",
    "payload": "body",
    "prober": "kind",
}
_EXPECTED = frozenset({"text", "regex", "not_regex", "status", "within"})  # what stands under expect
_TEXT = frozenset({"string_type", "string_sub_type", "path_type"})


def message(error: Any, node: Node) -> str:
    """One of `ValidationError.errors()` in our words, for the node that it is about (for an unknown or a missing key its mapping)."""
    kind, ctx = error["type"], error.get("ctx") or {}
    if isinstance(node, Scalar) and node.value is None and kind.endswith(("_type", "_parsing")):
        return EMPTY
    if kind in _TEXT:
        return _no_text(node)
    if kind in {"literal_error", "enum"}:
        return _one_of(str(ctx.get("expected", "")), node)
    if kind == "value_error":
        return str(ctx.get("error", "")).strip() or "doesn't fit"
    if kind == "string_pattern_mismatch":
        return f"doesn't have the form {ctx.get('pattern', '')}"
    text = error["msg"].removeprefix("Value error, ").replace("Input should be", "must be").replace("Input should", "must")
    return _PLAIN.get(kind) or text[:1].lower() + text[1:]


def _no_text(node: Node) -> str:
    if isinstance(node, Items):
        return "must be a text, not a list"
    if isinstance(node, Keys):
        return "must be a text, not a mapping"
    what = "true or false" if isinstance(node.value, bool) else "a number"
    return f"is read as {what} and must be a text; put it in quotes"


def _one_of(expected: str, node: Node) -> str:
    words = expected.replace("'", "")
    if isinstance(node, Scalar) and node.plain and not isinstance(node.value, str) and f"'{node.text}'" in expected:
        return _no_text(node)
    known = re.findall(r"'([^']*)'", expected)
    return f"must be {words}" + (did_you_mean(node.text, known) if isinstance(node, Scalar) else "")


def unknown_key(walked: Path, known: Collection[str], what: str, also_known: Collection[str]) -> str:
    """`no such setting of kind redis; did you mean round_trip?`: of the nearest key above it, or of the step.

    At the top of a part it belongs to `what`, where the keys of `also_known` go beside the model's own.
    """
    names = [word for word in walked[:-1] if isinstance(word, str)]
    if len(walked) == 1:
        owner, known = what, {*known, *also_known}
    elif isinstance(walked[-2], int):
        owner = "a step" if names[-1:] == ["steps"] else f"an item of {names[-1]}"
    else:
        owner = names[-1]
    here = _ELSEWHERE.get(str(walked[-1]).lower(), "")
    if here in known:
        return f"no such setting of {owner}; write {here}"
    if here in _EXPECTED and "expect" in known:
        return f"no such setting of {owner}; write {here} under expect"
    return f"no such setting of {owner}{did_you_mean(str(walked[-1]), known)}"


def with_origin(message: str, filled: Filled | None) -> str:
    """A message about a value that was filled in: it says where the value came from, and never repeats a secret."""
    if filled is None:
        return message
    source = " and ".join(f"${{{name}}}" for name in dict.fromkeys(filled.names))
    if any(secret and secret in message for secret in filled.secrets):
        return f"the value from {source} doesn't fit (it is not shown)"
    return f"{message} (the value comes from {source})"
