"""checks.yaml -> Plan, or every problem in it at once."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TypeVar

from probes.probe import Probe
from runner.config import secret_names
from runner.config.checks import Book, planned
from runner.config.document import read
from runner.config.filling import Sketch
from runner.config.names import judge_names, judge_names_of
from runner.config.nodes import Keys, find
from runner.config.plan import GateRules, Marking, Plan, Planned, Server
from runner.config.scenarios import load_rules
from runner.config.sections import Defaults, GateKeys, General, GrafanaKeys, Section, ServerKeys
from runner.config.selection import Choice, choose
from runner.config.targets import slos, targets
from runner.config.validation import Part, Reading

S = TypeVar("S", bound=Section)
HIGHEST_PORT = 65535
SECTIONS = ("defaults", "targets", "slos", "checks", "server", "gate", "grafana", "load")


def load(
    path: Path,
    *,
    environ: Mapping[str, str],
    kinds: Mapping[str, type[Probe]] | None = None,
    tags: Collection[str] = (),
    checks: Collection[str] = (),
    secrets: bool = True,
    serving: bool = True,
    marking: bool = True,
    gating: bool = False,
    probing: bool = True,
    loading: str | None = None,
) -> Plan:
    """Reads a file of checks: those that carry one of `tags` or are named in `checks`, or all where neither is given.

    `secrets=False` reads no file that `${file:...}` names and needs no variable: texts stand in for what isn't set.
    `serving=False` leaves the server section's values alone, for commands that serve nothing, `marking=False` those of grafana.
    With `gating`, the gate's own tags select where nothing else does; without `probing` no check is chosen, and none needs its
    values. `loading` names the target of a load run: its values and the scenarios' are read, whether a check uses them or not.
    Raises PlanError with all problems, a tag that no check carries and an unknown check among them. Reads files: on an event
    loop call it in a thread.
    """
    reading = Reading(path, read(path), environ)
    kinds = _discovered() if kinds is None else kinds
    sketch = None if secrets else environ
    general = _general(reading, sketch=sketch)
    defaults = _section(reading, "defaults", Defaults, sketch=sketch) or Defaults()
    server = _server(reading, sketch=sketch if serving else {})
    rules = _gate(reading, sketch=sketch if gating else {})
    grafana = _grafana(reading, sketch=sketch if marking else {})
    entries = _entries(reading)
    if gating and not tags and not checks:
        tags = rules.tags
    choice = choose(reading, entries, tags=tags, names=checks, sketch=sketch) if probing else Choice(frozenset())
    names = entries.entries if entries else {}
    books = _book(reading, kinds, defaults, names, sketch), _book(reading, kinds, defaults, names, {})
    plans = _plans(reading, entries, choice, books)
    loads = load_rules(reading, books, sketch=sketch, loading=loading)
    _judge_unused(books)
    found = reading.finish()
    return Plan(
        service=general.service,
        environment=general.environment,
        location=general.location,
        checks=tuple(plans),
        off=choice.off,
        targets=books[0].targets.used(),
        slos=tuple(books[0].slos.used().values()),
        references=tuple(filter(None, general.references)) if sketch is None else (),
        server=server,
        gate=rules,
        grafana=grafana,
        unmarked=marking and grafana is None and "grafana" in reading.root.entries,
        load=loads,
        state=path.parent / general.state,
        path=path,
        files=reading.real.files(),
        secrets=found,
    )


def _discovered() -> Mapping[str, type[Probe]]:
    from probes import discover  # noqa: PLC0415 - imports every kind and its libraries: only where no kinds are given

    return discover()


def _general(reading: Reading, *, sketch: Sketch) -> General:
    """The keys beside the sections; unknown ones are reported."""
    rest = {key: entry for key, entry in reading.root.entries.items() if key not in SECTIONS and not key.startswith("x-")}
    node = Keys(reading.root.at, rest)
    extra = {}
    if "version" not in rest:
        reading.report(node.at, ("version",), "is missing; write version: 1")
        extra["version"] = 1
    found = reading.validated(General, Part(node, (), node.at, "checks.yaml", SECTIONS), sketch=sketch, extra=extra)
    return found[0] if found else General(version=1)


def _section(reading: Reading, name: str, model: type[S], *, sketch: Sketch) -> S | None:
    entry = reading.root.entries.get(name)
    found = reading.validated(model, Part(entry.node, (name,), entry.at, name), sketch=sketch) if entry else None
    return found[0] if found else None


def _entries(reading: Reading) -> Keys | None:
    """The checks; the other sections that hold entries by name are judged with them."""
    entries, _, _ = (_mapping(reading, name) for name in ("checks", "targets", "slos"))
    if "checks" not in reading.root.entries or (entries is not None and not entries.entries):
        reading.report(reading.root.at, ("checks",), "is missing; a file has at least one check")
    return entries


def _mapping(reading: Reading, name: str) -> Keys | None:
    """A section that holds entries by name."""
    node = reading.root.get(name)
    if node is not None and not isinstance(node, Keys):
        reading.report(node.at, (name,), "must be a mapping of names to their settings")
    if not isinstance(node, Keys):
        return None
    judge_names_of(reading, name, node)
    return node


def _server(reading: Reading, *, sketch: Sketch) -> Server:
    keys = _section(reading, "server", ServerKeys, sketch=sketch)
    if keys is None:
        return Server()
    host, _, port = keys.listen.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if sketch is None and (not host or not port.isdecimal() or not int(port) <= HIGHEST_PORT):
        entry = reading.root.entries["server"]
        _, _, node = find(entry.node, entry.at, ("listen",))
        reading.report(node.at, ("server", "listen"), "write an address and a port, such as 127.0.0.1:9797")
        return Server()
    if sketch is not None:
        return Server()
    read_token, operate_token = keys.read_token.get_secret_value(), keys.operate_token.get_secret_value()
    reading.secrets |= {read_token, operate_token}
    return Server(host, int(port), read_token, operate_token, keys.hosts)


def _gate(reading: Reading, *, sketch: Sketch) -> GateRules:
    keys = _section(reading, "gate", GateKeys, sketch=sketch)
    return GateRules() if keys is None else GateRules(keys.tags, keys.wait, keys.rounds, keys.consecutive)


def _grafana(reading: Reading, *, sketch: Sketch) -> Marking | None:
    """None where there is no section, no address in it, or where its values are not wanted."""
    keys = _section(reading, "grafana", GrafanaKeys, sketch=sketch)
    if keys is None or sketch is not None or not keys.url.get_secret_value():
        return None
    url, token = keys.url.get_secret_value(), keys.token.get_secret_value()
    reading.secrets |= {token, *secret_names.of_url(url)}
    return Marking(url, token, keys.api, keys.namespace, keys.dashboard, keys.panel)


def _plans(reading: Reading, entries: Keys | None, choice: Choice, books: tuple[Book, Book]) -> list[Planned]:
    """The chosen checks, read by the first book. All others are read as a sketch, by the second, for the file's own mistakes."""
    names = entries.entries if entries else {}
    real, other = books
    chosen, everything = [], {}
    for entry in names.values():
        before = len(reading.problems)
        plan = planned(entry, real if entry.key in choice.chosen else other)
        if plan is not None:
            everything[entry.key] = plan
        elif entry.key in choice.chosen and len(reading.problems) == before:
            reading.report(entry.at, ("checks", entry.key), "can't be judged without its values; set its variables")
        if plan is not None and entry.key in choice.chosen:
            chosen.append(plan)
    judge_names(reading, entries, everything)
    return chosen


def _judge_unused(books: tuple[Book, Book]) -> None:
    """What nothing uses is read as a sketch, too."""
    real, other = books
    for name in real.targets.unused():
        other.targets.touch(name)
    for name in real.slos.unused():
        other.slos.touch(name)


def _book(reading: Reading, kinds: Mapping[str, type[Probe]], defaults: Defaults, names: Collection[str], sketch: Sketch) -> Book:
    found = targets(reading, _section_keys(reading, "targets"), sketch=sketch)
    counted = slos(reading, _section_keys(reading, "slos"), sketch=sketch)
    return Book(reading, kinds, defaults, found, counted, sketch, names)


def _section_keys(reading: Reading, name: str) -> Keys | None:
    node = reading.root.get(name)
    return node if isinstance(node, Keys) else None
