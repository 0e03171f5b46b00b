"""What tests by hypothesis share."""

from __future__ import annotations

from hypothesis import Phase

# For examples that take a loop of their own: to look for a smaller one would take minutes, and a test that is ended meanwhile
# leaves its loop waiting for ever.
AS_FOUND = (Phase.explicit, Phase.reuse, Phase.generate)
