"""When two revisions are the same: the one place that decides it."""

from __future__ import annotations

import re

SHORTEST = 7  # characters of a shortened commit
_COMMIT = re.compile(rf"[0-9a-f]{{{SHORTEST},64}}", re.IGNORECASE)


def is_commit(revision: str) -> bool:
    """Whether it may be a commit, whole or shortened: 7 to 64 hexadecimal digits."""
    return _COMMIT.fullmatch(revision.strip()) is not None


def same_revision(one: str, other: str) -> bool:
    """Whether two revisions are equal, or one commit of which either may be shortened, as git does.

    Only commits are shortened: 1.2.3-rc.1 is no shorter form of 1.2.3-rc.10.
    """
    one, other = one.strip(), other.strip()
    if not (is_commit(one) and is_commit(other)):
        return one == other
    short, long = sorted((one.lower(), other.lower()), key=len)
    return long.startswith(short)
