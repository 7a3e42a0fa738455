"""Chaos short enough for every change; `scripts/chaos` runs it longer, with the settings as shipped."""

import pytest

from tests.chaos.run import Figure, run_chaos

QUICK_SETTINGS = {"SAUDA_SEND_WINDOW_S": "2", "SAUDA_CLAIM_MARGIN_S": "1", "SAUDA_LEASE_TTL_S": "2"}
ZERO = (
    "lost",
    "duplicates",
    "stuck",
    "unknown",
    "position_mismatch",
    "terms_mismatch",
    "contradictions",
    "strangers",
    "crashed",
)


@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    ("tag_mode", "orders", "seed", "kills", "stops"),
    [("book", 80, 7, 10, 3), ("details", 40, 8, 5, 2), ("none", 40, 9, 5, 2)],
)
async def test_no_order_fill_or_rupee_is_lost_or_doubled_while_everything_breaks(
    tag_mode: str, orders: int, seed: int, kills: int, stops: int
) -> None:
    outcome = await run_chaos(orders, seed=seed, tag_mode=tag_mode, settings=QUICK_SETTINGS)
    figures = outcome.figures
    assert outcome.clean, "\n".join([str(figures), *outcome.findings])
    wanted: dict[str, Figure] = dict.fromkeys(ZERO, 0) | {"cash_mismatch": "0", "intents": orders}
    assert {name: figures[name] for name in wanted} == wanted
    assert tag_mode == "none" or figures["unsettleable"] == 0
    assert (_number(figures["kills"]) >= kills, _number(figures["stops"]) >= stops) == (True, True)
    for name in ("redis_wipes", "pg_restarts", "exchange_restarts", "faults_fired", "cancels", "modifies"):
        assert _number(figures[name]) > 0, name


def _number(figure: Figure) -> float:
    assert isinstance(figure, (int, float))
    return figure
