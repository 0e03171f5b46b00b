"""What to change where a target reports a revision that can't be the expected one: the application, checks.yaml, or the command."""

from __future__ import annotations

import re
from collections.abc import Sequence

from judge.revision import SHORTEST, WHOLE, is_commit, same_revision
from probes.expect.patterns import Pattern
from probes.target import Revision
from probes.text import listed
from runner.config.plan import Planned
from runner.gate.addresses import gate_targets

ADVICE = "let the application send its commit with every response, and set revision: {header: X-Revision} on its target"
_HEXADECIMAL = re.compile(r"[0-9a-f]+", re.IGNORECASE)


def unreported(expect: str, checks: Sequence[Planned]) -> str:
    """Why the gate can't wait for the expected revision, and what to change, where no target that it waits for reports one."""
    required = [planned.check.name for planned in checks if planned.check.required]
    if not required:
        return f"the gate can't wait for {expect}: every selected check is gate: optional, and it waits for required checks alone"
    if optional := [target.name for target in gate_targets(checks, required=False) if target.revision]:
        return (
            f"the gate can't wait for {expect}: only optional checks ask {listed(optional)}, which reports its revision; "
            "make one of them required, or add a required check of that target"
        )
    asked = gate_targets(checks)
    if asked and not any(one.target for one in asked):
        return (
            f"{listed([one.name for one in asked])}: only a target reports a revision, so the gate can't wait for {expect}; "
            "give the check target: and path: in place of its url:, and set revision: {header: X-Revision} on the target"
        )
    return f"{', '.join(one.name for one in asked) or 'the checks'}: no revision is reported, so the gate can't wait for {expect}; {ADVICE}"


def revision_hint(target: str, where: Revision | None, expect: str, seen: Sequence[str], before: str = "") -> str:
    """A sentence; "" where the expected revision was seen, or where waiting may still end well.

    `seen` are the revisions that the target reported, "" for a response without one; `before` is the one before the deployment.
    """
    if not seen or any(one and same_revision(one, expect) for one in seen):
        return ""
    reported = [one for one in seen if one]
    advice = f"let the application send its commit in {where.header}" if where and where.header else ADVICE
    if not reported:
        return f"{target} reports no revision ({where}); {advice}"
    for one in reported:
        if near := _written_differently(target, where, expect, one):
            return near
    if before and all(same_revision(one, before) for one in reported):
        return f"{target} already reported revision {reported[0]} before the deployment; if it always does, {advice}"
    if is_commit(expect) and not is_commit(reported[0]):
        return f"{target} reports {reported[0]} ({where}), which doesn't look like a commit; if it is always the same, {advice}"
    return ""


def _written_differently(target: str, where: Revision | None, expect: str, reported: str) -> str:
    """Where both may mean the same release: which of the two to change, and how; "" elsewhere."""
    if _begins(reported, expect):
        return (
            f"the expected revision {expect} is too short: give at least {SHORTEST} characters of the commit ({target} reports {reported})"
        )
    if _begins(expect, reported):
        return f"{target} reports {reported} ({where}), which is too short: let it report at least {SHORTEST} characters of its commit"
    if is_commit(expect) and is_commit(reported) and (reported.startswith(expect) or expect.startswith(reported)):
        return (
            f"{target} reports {reported} ({where}), which begins like {expect}; digits alone may be a build number: "
            f"if both are one commit, one of them must be the whole commit ({WHOLE[0]} characters)"
        )
    if inside := _inside(reported, expect):
        setting = f"header: {where.header}" if where and where.header else f"path: {where.path}, json: {where.json_}" if where else "..."
        out = f"take it out with revision: {{{setting}, regex: '{inside}'}}"
        return f"{target} reports {reported} ({where}), which contains the expected revision; {out}"
    if _inside(expect, reported):
        return f"{target} reports {reported} ({where}); expect that instead of {expect}"
    return ""


def _begins(commit: str, short: str) -> bool:
    """Whether a commit begins with these fewer than seven digits."""
    return len(short) < SHORTEST and is_commit(commit) and commit.lower().startswith(short.lower())


def _inside(text: str, revision: str) -> str:
    """A regular expression that takes the revision out of a longer text (an ETag, git describe, an image's tag); "" if it isn't there."""
    candidates = ['"([^"]+)"']
    for found in _HEXADECIMAL.finditer(text):
        sign = text[found.start() - 1 : found.start()]
        candidates.append(f"{sign if sign.isalnum() or sign.isspace() else re.escape(sign)}([0-9a-fA-F]{{{SHORTEST},64}})")
    for regex in candidates:
        taken = Pattern.parse(regex).search(text)
        if taken and taken[0] != revision and same_revision(taken[1], revision):
            return regex
    return ""
