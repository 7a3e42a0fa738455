"""Replaying recorded days."""

import asyncio
import json
import sys
import time
from datetime import date
from decimal import Decimal
from typing import Annotated

import typer

from app.bootstrap.foundation import Foundation
from app.bootstrap.paper import paper_market, replay_service
from app.commands.console import fail, run, say
from app.core.replays import ReplayState
from app.market_data.sample import NoSuchDay, sample_days
from app.repositories.replays import Replay
from app.services.replays import ReplayFigures, ReplayService, differences

FOLLOW_EVERY_S = 2.0


def replay(
    day: Annotated[str, typer.Argument(help="YYYY-MM-DD, or 'sample' for the first day there is")] = "sample",
    speed: Annotated[float, typer.Option(min=0, max=3600, help="Times market speed; 0: as fast as it goes")] = 0.0,
    until_done: Annotated[bool, typer.Option("--until-done", help="Wait for the end and show the result")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on the last line of stdout")] = False,
    list_days: Annotated[bool, typer.Option("--list-days", help="List the days there are, and end")] = False,
) -> None:
    """Play a recorded market day through the running system: exchange, feed, strategies, workers, fills."""
    days = sample_days()
    if list_days:
        for one in days:
            typer.echo(one.isoformat())
        return
    wanted = _day(day, days)

    async def _replay(base: Foundation) -> bool:
        market = paper_market(base.config)
        try:
            service = replay_service(base, market)
            requested = await service.request(wanted, speed=Decimal(str(speed)))
            say(f"replay of {wanted} requested on account {requested.source}")
            if until_done:
                return await _follow(service, requested, as_json=as_json)
        finally:
            await market.close()
        return True

    if not run(_replay):
        raise typer.Exit(1)


def demo() -> None:
    """Play the first day fast, then the following days at market speed, until stopped."""

    async def _demo(base: Foundation) -> None:
        market = paper_market(base.config)
        try:
            service = replay_service(base, market)
            for index, day in enumerate(sample_days()):
                speed = Decimal(0) if index == 0 else Decimal(1)
                requested = await service.request(day, speed=speed)
                say(f"playing {day} at {'full' if index == 0 else 'market'} speed on account {requested.source}")
                await _follow(service, requested, as_json=False)
        finally:
            await market.close()

    run(_demo)


def _day(text: str, days: list[date]) -> date:
    if text == "sample":
        return days[0]
    try:
        wanted = date.fromisoformat(text)
    except ValueError:
        fail(f"{text!r} is not a day: write YYYY-MM-DD, or 'sample'")
    if wanted not in days:
        fail(str(NoSuchDay(f"the sample has no bars of {wanted}; --list-days lists what it has")))
    return wanted


async def _follow(service: ReplayService, replay: Replay, *, as_json: bool) -> bool:
    """Show the progress of a replay until its end, then its result; true where all went well."""
    started, shown = time.monotonic(), 0
    while True:
        replay = await service.get(replay.id)
        if replay.state in (ReplayState.DONE, ReplayState.FAILED):
            break
        if replay.bars_done > shown:
            say(f"  {replay.day}: {replay.bars_done} of {replay.bars_total} bars")
            shown = replay.bars_done
        await asyncio.sleep(FOLLOW_EVERY_S)
    figures = await service.figures(replay)
    wrong = differences(figures, await service.ledger(replay))
    if replay.error:
        wrong.append(replay.error)
    for line in wrong:
        say(f"WRONG: {line}")
    duration_s = round(time.monotonic() - started, 2)
    if replay.started_at and replay.finished_at:
        duration_s = round((replay.finished_at - replay.started_at).total_seconds(), 2)
    _show(replay.day, figures, duration_s, as_json=as_json)
    return not wrong


def _show(day: date, figures: ReplayFigures, duration_s: float, *, as_json: bool) -> None:
    result = {
        "day": day.isoformat(),
        "bars": figures.bars,
        "signals": figures.signals,
        "orders": figures.orders,
        "fills": figures.fills,
        "rejected": figures.rejected,
        "unknown": figures.unknown,
        "open_positions": figures.open_positions,
        "realized_pnl": str(figures.realized_pnl),
        "fees": str(figures.fees),
        "p50_order_ms": _number(figures.p50_order_ms),
        "p99_order_ms": _number(figures.p99_order_ms),
        "duration_s": duration_s,
    }
    if as_json:
        sys.stdout.write(json.dumps(result) + "\n")
        return
    for name, value in result.items():
        say(f"  {name:>15}  {value}")


def _number(value: Decimal | None) -> float | None:
    return None if value is None else float(value)
