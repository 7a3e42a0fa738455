"""Tags and client order ids: short, plain, and the same each time they are made."""

import re

from hypothesis import given
from hypothesis import strategies as st

from app.core.tags import TAG_LENGTH, client_order_id, is_our_tag, order_tag

FACTS = st.characters(codec="utf-8", exclude_characters="\x1f")
TAG_SHAPE = re.compile(r"SD[A-Z2-7]{16}")


@given(st.text(max_size=200))
def test_a_tag_has_the_shape_that_every_broker_takes(own_id: str) -> None:
    tag = order_tag(own_id)
    assert TAG_SHAPE.fullmatch(tag)
    assert len(tag) == TAG_LENGTH <= 20
    assert is_our_tag(tag)


@given(st.text(max_size=50), st.text(max_size=50))
def test_two_orders_have_two_tags_and_one_order_always_the_same(one: str, other: str) -> None:
    assert (order_tag(one) == order_tag(other)) == (one == other)


@given(st.lists(st.text(alphabet=FACTS, max_size=8), min_size=1, max_size=5))
def test_a_client_order_id_is_a_function_of_its_facts_in_their_order(facts: list[str]) -> None:
    made = client_order_id(*facts)
    assert re.fullmatch(r"c[0-9a-f]{31}", made)
    assert made == client_order_id(*facts)
    assert made != client_order_id(*facts, "")


def test_facts_do_not_run_into_one_another() -> None:
    assert client_order_id("ab", "c") != client_order_id("a", "bc")


def test_a_tag_of_someone_else_is_not_taken_for_ours() -> None:
    assert not is_our_tag("")
    assert not is_our_tag("SD")
    assert not is_our_tag("XY" + "A" * 16)
    assert not is_our_tag("SD" + "A" * 17)


def test_tags_stay_what_they_were_so_that_orders_at_the_broker_are_found_again() -> None:
    assert order_tag("c0ffee") == "SD7MBIRBZAGH6EQGGA"
