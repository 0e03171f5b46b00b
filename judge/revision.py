"""When two revisions are the same: the one place that decides it."""

from __future__ import annotations

import re

SHORTEST = 7  # characters of a shortened commit
WHOLE = (40, 64)  # characters of a whole one, by SHA-1 and by SHA-256
_SHOWN = 12
_COMMIT = re.compile(rf"[0-9a-f]{{{SHORTEST},64}}", re.IGNORECASE)


def is_commit(revision: str) -> bool:
    """Whether it may be a commit, whole or shortened: 7 to 64 hexadecimal digits."""
    return _COMMIT.fullmatch(revision.strip()) is not None


def same_revision(one: str, other: str) -> bool:
    """Whether two revisions are equal, or one commit of which either may be shortened, as git does.

    Only commits are shortened: 1.2.3-rc.1 is no shorter form of 1.2.3-rc.10. Digits alone are rather a build number or a
    date (of commits that are shortened to seven characters one in 27 has no letter): they count as a shortened commit
    only where the other is a whole one. An inconclusive gate is better than a pass on the wrong release.
    """
    one, other = one.strip(), other.strip()
    if not (is_commit(one) and is_commit(other)):
        return one == other
    short, long = sorted((one.lower(), other.lower()), key=len)
    return short == long or (long.startswith(short) and (len(long) in WHOLE or not short.isdecimal()))


def brief(revision: str) -> str:
    """A commit by its first twelve characters; a version or a build number whole, since its end may be what counts."""
    return revision[:_SHOWN] if is_commit(revision) and not revision.isdecimal() else revision
