"""An account's limits: its own, never more than the broker's, and raised only where nothing is real."""

from uuid import uuid4

import pytest

from app.brokers.governor import Budget
from app.brokers.limits import WriteLimits, write_limits
from app.brokers.registry import broker_record
from app.core.accounts import Account, AccountMode, AccountStatus

Wanted = tuple[int, int | None, int | None]


def an_account(mode: AccountMode, wanted: Wanted, *, broker: str = "angelone") -> Account:
    per_second, per_minute, per_hour = wanted
    return Account(
        id=uuid4(),
        name="a",
        broker=broker,
        mode=mode,
        status=AccountStatus.ACTIVE,
        client_code="A1001",
        market_source="live",
        orders_per_second=per_second,
        orders_per_minute=per_minute,
        orders_per_hour=per_hour,
    )


def limits(mode: AccountMode, wanted: Wanted, *, broker: str = "angelone") -> tuple[int, int | None, int | None, int]:
    found = write_limits(an_account(mode, wanted, broker=broker), broker_record(broker))
    return found.per_second, found.per_minute, found.per_hour, found.segment_per_second


@pytest.mark.parametrize(
    ("mode", "wanted", "found"),
    [
        (AccountMode.LIVE, (9, None, None), (9, 500, 1000, 10)),
        (AccountMode.LIVE, (5, 100, 200), (5, 100, 200, 10)),
        (AccountMode.LIVE, (500, 10_000, 100_000), (9, 500, 1000, 10)),
        (AccountMode.PAPER, (9, None, None), (9, 500, 1000, 10)),
        (AccountMode.PAPER, (9, 50, 2000), (9, 50, 1000, 10)),
        (AccountMode.PAPER, (10, None, None), (10, None, None, 10)),
        (AccountMode.PAPER, (5000, 60_000, None), (5000, 60_000, None, 5000)),
    ],
)
def test_only_paper_is_raised_above_the_brokers_record(
    mode: AccountMode, wanted: Wanted, found: tuple[int, int | None, int | None, int]
) -> None:
    assert limits(mode, wanted) == found


def test_a_broker_that_states_no_limit_has_the_accounts_own() -> None:
    assert limits(AccountMode.PAPER, (200, None, 5), broker="null") == (200, None, 5, 200)
    record = broker_record("angelone").model_copy(update={"limits": {}})
    found = write_limits(an_account(AccountMode.LIVE, (200, None, None)), record)
    assert found == WriteLimits(per_second=200, per_minute=None, per_hour=None, segment_per_second=10)


def test_a_budget_belongs_to_the_client_code_and_paper_spends_nothing_of_live() -> None:
    names = {
        Budget.of(an_account(mode, (9, None, None)), write_limits(an_account(mode, (9, None, None)), record)).name
        for mode in AccountMode
        for record in [broker_record("angelone")]
        for _ in range(2)
    }
    assert names == {"angelone:live:a1001", "angelone:paper:a1001"}
