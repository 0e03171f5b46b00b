"""Several runners as real processes: each check has one of them."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from tests.support.always_on import run, write
from tests.support.counting import counting_server


@pytest.mark.slow
@pytest.mark.slow
async def test_the_shards_share_the_checks(tmp_path: Path) -> None:
    """Two runners of one file: every check is asked, by one of them alone, and their series say which shard they are."""
    async with counting_server() as server:
        checks = "".join(f"  c{number}: {{kind: http, url: '{server.url}c{number}', interval: 1s, timeout: 1s}}\n" for number in range(12))
        folders = [tmp_path / "a", tmp_path / "b"]
        for folder in folders:
            await asyncio.to_thread(folder.mkdir)
            await write(folder, checks)
        async with run(folders[0], OUTRIDER_SHARD="0/2") as one, run(folders[1], POD_NAME="outrider-1", OUTRIDER_SHARD="auto/2") as two:
            await server.until(lambda asked: len(asked) == 12)
            pages = [await one.scrape(), await two.scrape()]
        told = [set(re.findall(r'^probe_check_info\{.*?check="(c\d+)"', page, re.MULTILINE)) for page in pages]
        assert told[0] | told[1] == {f"c{number}" for number in range(12)}
        assert not told[0] & told[1]
        assert ["outrider_shard_ordinal 0.0" in pages[0], "outrider_shard_ordinal 1.0" in pages[1]] == [True, True]
