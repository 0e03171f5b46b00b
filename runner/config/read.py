"""checks.yaml -> Plan, or every problem in it at once."""

from __future__ import annotations

import gc
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path as FilePath

from probes.probe import Probe
from runner.config import include, secret_names
from runner.config.checks import BuildContext, build_check
from runner.config.errors import Path
from runner.config.for_each import expand
from runner.config.maintenance import windows_of
from runner.config.names import judge_names, judge_references
from runner.config.nodes import Entry, Keys, Scalar, has_holes
from runner.config.placeholders import DryRun, Source
from runner.config.plan import Coordinate, GateRules, LoadRules, Marking, Plan, Planned, Server
from runner.config.purpose import Purpose
from runner.config.scenarios import LoadSection, load_section
from runner.config.sections import CoordinateKeys, GateKeys, General, GrafanaKeys, ServerKeys
from runner.config.selection import Selection, select, select_scripted
from runner.config.target_files import TargetFiles
from runner.config.targets import unused_targets
from runner.config.validation import ConfigPart, Reading

HIGHEST_PORT = 65535
_LEASES = 3  # within the shortest interval
_SHORTEST_LEASE, _LONGEST_LEASE = 1.0, 10.0  # seconds
SECTIONS = ("defaults", "targets", "logins", "slos", "checks", "server", "gate", "grafana", "load", "coordinate", "maintenance")


@contextmanager
def _without_collections() -> Iterator[None]:
    """The garbage collector is off: a plan is one tree that stays, and each walk through what is there of it takes longer than the last."""
    on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if on:
            gc.enable()


@_without_collections()
def read_plan(
    path: FilePath,
    *,
    environ: Mapping[str, str],
    purpose: Purpose = Purpose.RUN,
    annotate: bool = False,
    kinds: Mapping[str, type[Probe]] | None = None,
    tags: Collection[str] = (),
    checks: Collection[str] = (),
    scenario: str = "",
    tree: include.Tree | None = None,
    targets: TargetFiles | None = None,
) -> Plan:
    """Reads a file of checks: those that carry one of `tags` or are named in `checks`, or all where neither is given.

    `annotate` needs the grafana section's values; `scenario` is read for a LOAD. `tree` stands for the files of checks.yaml, which
    are read unless it is given; `targets` reads the files with targets. Raises PlanError with all problems. It blocks.
    """
    tree = tree or include.read(path)
    reading, unneeded = Reading(path, tree.root, environ, tree.files, targets), DryRun({})
    needed: Source = DryRun(environ) if purpose is Purpose.DRY_RUN else reading.environment
    annotate = annotate or purpose in (Purpose.RUN, Purpose.ANNOTATE)
    general = _general(reading, needed)
    server, coordinate, gate, grafana = _sections(reading, needed, unneeded, purpose=purpose, annotate=annotate)
    found = expand(reading, _entries(reading))
    entries, known = found.entries, kinds or _discovered()
    wanted, others = (BuildContext.of(reading, source, known, found.names) for source in (needed, unneeded))
    load = load_section(reading, needed if purpose is Purpose.LOAD else unneeded)
    selection = _selection(wanted, entries, load, purpose=purpose, tags=tags, checks=checks, scenario=scenario, of_gate=gate.tags)
    plans, everything = _plans(entries, selection, wanted, others)
    of_windows = needed if purpose in (Purpose.RUN, Purpose.GATE, Purpose.DRY_RUN) else unneeded
    planned = {name: everything[name].check if name in everything else None for name in entries}
    maintenance = windows_of(reading, of_windows, wanted.defaults.model.zone, found.names, planned)
    sure = {*(() if needed.dry else (("checks", planned.check.name) for planned in plans)), *_plain(reading, entries)}
    rules = load.rules(wanted, others, _enabled(entries, everything), sure=sure, scenario=scenario) if load else LoadRules()
    others.use_what_is_unused(wanted)
    return Plan(
        secrets=reading.finish(),
        service=general.service,
        environment=general.environment,
        location=general.location,
        locations=general.locations,
        checks=tuple(_shifted(plans, general)),
        off=selection.off,
        targets=wanted.targets.used(),
        unused_targets=unused_targets(reading, wanted.targets.used()),
        slos=tuple(wanted.slos.used().values()),
        references=() if needed.dry else tuple(filter(None, general.references)),
        server=server,
        gate=gate,
        grafana=grafana,
        unmarked=annotate and grafana is None and "grafana" in reading.root.entries,
        coordinate=_coordinated(coordinate, general, plans) if coordinate else None,
        load=rules,
        maintenance=maintenance,
        state=path.parent / general.state,
        path=path,
        selected=(*(f"--tag {tag}" for tag in tags), *(f"--check {name}" for name in checks)),
        files=(*reading.files(), *(file for planned in plans for file in planned.probe.files())),
    )


def _sections(
    reading: Reading, needed: Source, unneeded: Source, *, purpose: Purpose, annotate: bool
) -> tuple[Server, CoordinateKeys | None, GateRules, Marking | None]:
    """What stands beside the checks, each with the values that the purpose needs."""
    of_run = needed if purpose is Purpose.RUN else unneeded
    server, coordinate = _server(reading, of_run), _coordinate(reading, of_run)
    gate = _gate(reading, needed if purpose in (Purpose.RUN, Purpose.GATE) else unneeded)
    return server, coordinate, gate, _grafana(reading, needed if annotate else unneeded)


def _selection(
    wanted: BuildContext,
    entries: Mapping[str, Entry],
    load: LoadSection | None,
    *,
    purpose: Purpose,
    tags: Collection[str],
    checks: Collection[str],
    scenario: str,
    of_gate: Collection[str],
) -> Selection:
    """The checks that the plan is for. `of_gate` are the tags of the gate section, which select where nothing else does."""
    if purpose is Purpose.ANNOTATE:
        return Selection(frozenset())
    if purpose is Purpose.LOAD:
        target, mix = (load.target_of(scenario), load.mix_of(scenario)) if load else ("", frozenset[str]())
        return select_scripted(wanted, entries, target=target, mix=mix)
    of_the_gate = purpose is Purpose.GATE and not tags and not checks
    return select(wanted, entries, tags=of_gate if of_the_gate else tags, names=checks, of_the_gate=of_the_gate)


def _discovered() -> Mapping[str, type[Probe]]:
    from probes import Kinds  # noqa: PLC0415 - only where no kinds are given

    return Kinds()


def _enabled(entries: Mapping[str, Entry], planned: Mapping[str, Planned | None]) -> dict[str, Planned | None]:
    """The checks that the file doesn't switch off; None for one that is wrong or whose values aren't there."""
    switches = {name: entry.node.get("enabled") if isinstance(entry.node, Keys) else None for name, entry in entries.items()}
    return {name: planned.get(name) for name, node in switches.items() if not (isinstance(node, Scalar) and node.value is False)}


def _general(reading: Reading, source: Source) -> General:
    """The keys beside the sections; unknown ones are reported."""
    rest = {key: entry for key, entry in reading.root.entries.items() if key not in SECTIONS and not key.startswith("x-")}
    node = Keys(reading.root.at, rest)
    extra = {}
    if "version" not in rest:
        reading.report(node.at, ("version",), "is missing; write version: 1")
        extra["version"] = 1
    found = reading.validated(General, ConfigPart(node, (), node.at, "checks.yaml", SECTIONS), source, extra=extra)
    if found is None:
        return General(version=1)
    places, place = found.model.locations, found.model.location
    unknown = not source.dry and ("location",) not in found.missing and place not in places
    if places and (unknown or len(set(places)) < len(places)):
        what = f"{place} isn't one of them; the location of each runner must be in the list" if unknown else "names a location twice"
        reading.report(rest["locations"].at, ("locations",), what)
    return found.model


def _shifted(plans: Sequence[Planned], general: General) -> Iterator[Planned]:
    """The checks at the times of this location. One whose times change is a changed check."""
    places = general.locations
    shift = places.index(general.location) / len(places) if general.location in places else 0.0
    for planned in plans:
        yield replace(planned, shift=shift, fingerprint=f"{planned.fingerprint}+{shift:g}") if shift else planned


def _server(reading: Reading, source: Source) -> Server:
    found = reading.section("server", ServerKeys, source)
    if found is None or source.dry:
        return Server()
    keys = found.model
    host, _, port = keys.listen.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isdecimal() or not int(port) <= HIGHEST_PORT:
        reading.report_inside(
            reading.root.entries["server"], ("server",), ("listen",), "write an address and a port, such as 127.0.0.1:9797"
        )
        return Server()
    read_token, operate_token = keys.read_token.get_secret_value(), keys.operate_token.get_secret_value()
    reading.secrets |= {read_token, operate_token}
    return Server(host, int(port), read_token, operate_token, keys.hosts, keys.buckets)


def _gate(reading: Reading, source: Source) -> GateRules:
    found = reading.section("gate", GateKeys, source)
    if found is None or found.missing:
        return GateRules()
    return GateRules(found.model.tags, found.model.wait, found.model.rounds, found.model.consecutive)


def _grafana(reading: Reading, source: Source) -> Marking | None:
    """None where there is no section, no address in it, or where its values are not needed."""
    found = reading.section("grafana", GrafanaKeys, source)
    if found is None or source.dry or not found.model.url.get_secret_value():
        return None
    keys = found.model
    url, token = keys.url.get_secret_value(), keys.token.get_secret_value()
    reading.secrets |= {token, *secret_names.of_url(url)}
    return Marking(url, token, keys.api, keys.namespace, keys.dashboard, keys.panel)


def _coordinate(reading: Reading, source: Source) -> CoordinateKeys | None:
    """None where runners don't share the checks: there is no section, or no address in it."""
    entry = reading.root.entries.get("coordinate")
    if entry and isinstance(entry.node, Scalar):  # the address alone
        inside = Keys(entry.node.at, {"url": Entry("url", entry.node.at, entry.node)})
        found = reading.validated(CoordinateKeys, ConfigPart(inside, ("coordinate",), entry.at, "coordinate"), source)
    else:
        found = reading.section("coordinate", CoordinateKeys, source)
    if found is None or not found.model.url.get_secret_value():
        return None
    reading.secrets |= set(secret_names.of_url(found.model.url.get_secret_value()))
    return found.model


def _coordinated(keys: CoordinateKeys, general: General, plans: Sequence[Planned]) -> Coordinate:
    """With the lease that fits the checks: a dead runner's are taken over within two intervals of the shortest."""
    shortest = min((one.check.interval for one in plans if one.check.interval), default=_LONGEST_LEASE)
    lasts = keys.lasts or min(max(shortest / _LEASES, _SHORTEST_LEASE), _LONGEST_LEASE)
    counts = f"{general.service}/{general.environment}"
    leases = f"{counts}/{general.location}/{keys.slots}"  # runners that divide the checks otherwise can't share them
    return Coordinate(keys.url.get_secret_value(), lasts, keys.slots, keys.most, leases=leases, counts=counts)


def _entries(reading: Reading) -> Mapping[str, Entry]:
    """The checks by name; the other sections that hold entries by name are judged with them."""
    found: dict[str, Mapping[str, Entry]] = {}
    for name in ("checks", "targets", "logins", "slos"):
        node = reading.root.get(name)
        if isinstance(node, Keys):
            judge_names(reading, name, node)
            found[name] = node.entries
        elif node is not None:
            reading.report(node.at, (name,), "must be a mapping of names to their settings")
    if "checks" not in reading.root.entries or found.get("checks") == {}:
        reading.report(reading.root.at, ("checks",), "is missing; a file has at least one check")
    return found.get("checks", {})


def _plans(
    entries: Mapping[str, Entry], selection: Selection, wanted: BuildContext, others: BuildContext
) -> tuple[list[Planned], dict[str, Planned]]:
    """The selected checks, and all by name. Those that aren't selected are read without their values, for the file's own mistakes."""
    selected, everything, reading = list[Planned](), dict[str, Planned](), wanted.reading
    for name, entry in entries.items():
        before = len(reading.problems)
        plan = build_check(entry, wanted if name in selection.names else others)
        if plan is not None:
            everything[name] = plan
            if name in selection.names:
                selected.append(plan)
        elif name in selection.names and len(reading.problems) == before and wanted.awaits_values(entry):
            reading.report(entry.at, ("checks", name), "can't be judged without its values; set its variables")
    judge_references(reading, entries, everything)
    return selected, everything


def _plain(reading: Reading, checks: Mapping[str, Entry]) -> Iterator[Path]:
    """The checks that hold no placeholder, and the targets whose rules hold none: they are known without any value."""
    yield from (("checks", name) for name, entry in checks.items() if not has_holes(entry.node))
    section = reading.root.get("targets")
    for name, entry in section.entries.items() if isinstance(section, Keys) else ():
        parts = [entry.node.get(key) for key in ("allow", "deny")] if isinstance(entry.node, Keys) else [entry.node]
        if not any(has_holes(part) for part in parts if part):
            yield "targets", name
