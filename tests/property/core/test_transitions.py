"""The transition table holds for every pair of status and event, also for pairs that nobody thought of."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.errors import IllegalTransition
from app.core.orders import TERMINAL_STATUSES, OrderStatus
from app.core.transitions import NOTES, TRANSITIONS, OrderEvent, next_status, remark, sources

PAIRS = list(product(OrderStatus, OrderEvent))
ROWS = {(row.status, row.event): row for row in TRANSITIONS}

LATE_EVIDENCE = {
    # A trade outweighs what was said before it, and what trades too much is still told.
    (OrderStatus.CANCELLED, OrderEvent.FULL_FILL): OrderStatus.COMPLETE,
    (OrderStatus.REJECTED, OrderEvent.PARTIAL_FILL): OrderStatus.PARTIALLY_FILLED,
    (OrderStatus.REJECTED, OrderEvent.FULL_FILL): OrderStatus.COMPLETE,
    (OrderStatus.EXPIRED, OrderEvent.FULL_FILL): OrderStatus.COMPLETE,
    # The broker took a larger quantity than that of which all had traded: the rest is live.
    (OrderStatus.COMPLETE, OrderEvent.RAISED): OrderStatus.PARTIALLY_FILLED,
}
"""All the ways out of a terminal status: trades, which the exchange has made, and a raise that the broker took."""

FIRST_HAND = {
    OrderEvent.ACCEPTED,
    OrderEvent.REFUSED,
    OrderEvent.NOT_SENT,
    OrderEvent.THROTTLED,
    OrderEvent.PARTIAL_FILL,
    OrderEvent.FULL_FILL,
    OrderEvent.BROKER_REJECTED,
    OrderEvent.BROKER_CANCELLED,
}
PROOFS_AND_PEOPLE = {
    OrderEvent.PROVEN_ABSENT,
    OrderEvent.RESOLVED_PLACED,
    OrderEvent.RESOLVED_ABSENT,
    OrderEvent.RESOLVED_RESEND,
}


@pytest.mark.parametrize(("status", "event"), PAIRS)
def test_every_pair_outside_the_table_is_refused_and_every_pair_in_it_is_followed(
    status: OrderStatus, event: OrderEvent
) -> None:
    row = ROWS.get((status, event))
    if row is None:
        with pytest.raises(IllegalTransition) as refusal:
            next_status(status, event)
        assert (refusal.value.status, refusal.value.event) == (status, event)
        assert status in str(refusal.value)
        assert remark(status, event) == ""
    else:
        assert next_status(status, event) is row.to
        assert remark(status, event) == row.remark


def test_no_pair_stands_in_the_table_twice() -> None:
    assert len(ROWS) == len(TRANSITIONS)


@pytest.mark.parametrize("event", OrderEvent)
def test_sources_of_an_event_are_exactly_the_statuses_in_which_it_is_legal(event: OrderEvent) -> None:
    legal = {status: ROWS[status, event].to for status in OrderStatus if (status, event) in ROWS}
    assert sources(event) == legal


def test_every_status_is_reached_from_a_new_order() -> None:
    reached = {OrderStatus.PENDING}
    while more := {row.to for row in TRANSITIONS if row.status in reached} - reached:
        reached |= more
    assert reached == set(OrderStatus)


def test_every_event_but_the_creation_can_happen_somewhere() -> None:
    assert {row.event for row in TRANSITIONS} == set(OrderEvent) - NOTES - {OrderEvent.CREATED}


def test_notes_change_no_status_for_the_table_has_no_row_of_them() -> None:
    assert [row for row in TRANSITIONS if row.event in NOTES] == []
    for status, event in product(OrderStatus, NOTES):
        with pytest.raises(IllegalTransition):
            next_status(status, event)


def test_a_terminal_status_is_left_only_for_the_listed_evidence() -> None:
    left = {
        (row.status, row.event): row.to
        for row in TRANSITIONS
        if row.status in TERMINAL_STATUSES and row.to is not row.status
    }
    assert left == LATE_EVIDENCE


def test_unknown_is_left_only_on_evidence_or_by_a_person() -> None:
    ways_out = {
        row.event for row in TRANSITIONS if row.status is OrderStatus.UNKNOWN and row.to is not OrderStatus.UNKNOWN
    }
    assert ways_out == FIRST_HAND | PROOFS_AND_PEOPLE


def test_only_proof_that_nothing_was_sent_makes_an_order_sendable_again() -> None:
    back = {row.event for row in TRANSITIONS if row.to is OrderStatus.PENDING and row.status is not OrderStatus.PENDING}
    assert back == {
        OrderEvent.NOT_SENT,
        OrderEvent.THROTTLED,
        OrderEvent.PROVEN_ABSENT,
        OrderEvent.RESOLVED_RESEND,
    }


def test_a_change_of_terms_alone_never_moves_an_order_that_does_not_trade() -> None:
    moved = {row.status: row.to for row in TRANSITIONS if row.event is OrderEvent.MODIFIED and row.status is not row.to}
    assert moved == {}


def test_whatever_looks_odd_carries_a_remark() -> None:
    def odd(status: OrderStatus, to: OrderStatus) -> bool:
        repeats = status is to is not OrderStatus.PARTIALLY_FILLED
        backwards = to is OrderStatus.PENDING
        return repeats or backwards or status in TERMINAL_STATUSES or status is OrderStatus.UNKNOWN

    assert [row for row in TRANSITIONS if odd(row.status, row.to) and not row.remark] == []


@given(st.lists(st.sampled_from(OrderEvent), max_size=30))
def test_no_walk_of_events_claims_an_order_again_before_it_came_back_to_the_queue(events: list[OrderEvent]) -> None:
    status, claims, returns = OrderStatus.PENDING, 0, 0
    for event in events:
        try:
            after = next_status(status, event)
        except IllegalTransition:
            continue
        claims += event is OrderEvent.CLAIMED
        returns += after is OrderStatus.PENDING and status is not OrderStatus.PENDING
        assert claims - returns in {0, 1}
        status = after
