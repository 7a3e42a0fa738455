"""The first chaos test, short enough for every change; `scripts/chaos` runs it longer, with the settings as shipped."""

import pytest

from tests.chaos.run import run_chaos

QUICK_SETTINGS = {"SAUDA_SEND_WINDOW_S": "2", "SAUDA_CLAIM_MARGIN_S": "1", "SAUDA_LEASE_TTL_S": "2"}


@pytest.mark.timeout(180)
async def test_no_order_is_lost_doubled_or_stuck_while_everything_is_killed_frozen_and_wiped() -> None:
    outcome = await run_chaos(100, seed=7, settings=QUICK_SETTINGS)
    figures = outcome.figures
    assert outcome.clean, "\n".join([str(figures), *outcome.findings])
    assert (figures["intents"], figures["accepted"]) == (100, 100)
    assert (figures["lost"], figures["duplicates"], figures["stuck"]) == (0, 0, 0)
    assert figures["kills"] >= 10
    assert figures["stops"] >= 3
    assert figures["redis_wipes"] >= 1
    assert figures["faults_fired"] > 0
