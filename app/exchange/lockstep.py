"""One step of a replay: move the clock, release what was held, print prices, match, and answer the same for ever."""

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime

from app.core.errors import SaudaError
from app.exchange.exchange_time import exchange_day, in_session, session_over
from app.exchange.ledger import Entry
from app.exchange.market import Market, Mode
from app.exchange.orders import PaperOrder
from app.exchange.prices import Print


class StepConflict(SaudaError):
    """The step does not follow: wrong mode, a number or time that went back, or another request under its number."""

    code = "step_conflict"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A step of a run. `time` in UTC; each instrument has at most one price in it."""

    run: str
    number: int
    time: datetime
    prints: tuple[Print, ...]

    @property
    def fingerprint(self) -> str:
        """What tells a repeated step from another one under the same number."""
        facts = [(p.key, str(p.price), p.volume) for p in self.prints]
        return hashlib.sha256(json.dumps([self.time.isoformat(), facts]).encode()).hexdigest()


def take_step(market: Market, step: Step) -> str:
    """Take a step, once, and return its answer as JSON; a repeated step returns the stored answer.

    Raises `StepConflict`.
    """
    known = market.ledger.step(step.run, step.number)
    if known is not None:
        if known[0] != step.fingerprint:
            raise StepConflict(f"step {step.number} of run {step.run} was taken with another time or other prices")
        return known[1]
    _check_follows(market, step)
    entry = Entry()
    if step.run != market.run:
        market.run = step.run
        market.prices.clear()
        entry.forget_prices = True
    _move_clock(market, step, entry)
    market.book.lapse(
        entry, today=exchange_day(step.time), closed=session_over(step.time), run=market.run, at=step.time
    )
    released = _release(market, step, entry)
    market.take_prices(entry, step.prints, at=step.time)
    for order in released:
        if order.is_working and not any(printed.key == order.key for printed in step.prints):
            market.book.end_unpriced(entry, order, at=step.time)
    answer = json.dumps(_answer(market))
    entry.step = (step.run, step.number, step.fingerprint, answer)
    market.commit(entry)
    return answer


def _check_follows(market: Market, step: Step) -> None:
    if market.mode is not Mode.LOCKSTEP:
        raise StepConflict("the exchange is not in lockstep mode")
    if step.run != market.run:
        return
    if step.number <= market.last_step:
        raise StepConflict(f"step {step.number} comes after step {market.last_step}")
    if market.stepped_to is not None and step.time < market.stepped_to:
        raise StepConflict(f"time {step.time.isoformat()} lies before {market.stepped_to.isoformat()}")


def _move_clock(market: Market, step: Step, entry: Entry) -> None:
    market.stepped_to, market.last_step = step.time, step.number
    market.steps_taken += 1
    entry.state |= {
        "run": market.run,
        "last_step": str(market.last_step),
        "steps_taken": str(market.steps_taken),
        "stepped_to": step.time.isoformat(),
    }


def _release(market: Market, step: Step, entry: Entry) -> list[PaperOrder]:
    held = market.book.held(market.run)
    for order in held:
        if in_session(step.time):
            market.book.release(entry, order, run=market.run, at=step.time)
        else:
            market.book.reject(entry, order, "RMS: the market is closed", at=step.time)
    return held


def _answer(market: Market) -> dict[str, object]:
    clients = {
        account.client_code: {"orders": account.orders, "trades": account.trades, "terminal": account.terminal}
        for account in market.accounts.values()
    }
    return {"time": market.now().isoformat(), "seq": market.steps_taken, "clients": clients}
