"""A signal in a held moment is neither lost nor early."""

import signal

import pytest

from scripts.launch import interrupts


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_takes_effect_when_the_moment_is_over(number: signal.Signals) -> None:
    seen: list[str] = []
    before = signal.signal(number, lambda *_: seen.append("signal"))
    try:
        with interrupts.held():
            signal.raise_signal(number)
            seen.append("work")
        assert seen == ["work", "signal"]
    finally:
        signal.signal(number, before)


def test_handlers_are_as_before_even_when_the_work_fails() -> None:
    before = [signal.getsignal(number) for number in interrupts.ENDING]
    with pytest.raises(ValueError, match="failed"), interrupts.held():
        raise ValueError("failed")
    assert [signal.getsignal(number) for number in interrupts.ENDING] == before
