"""What waits for a person: alerts and dead letters."""

from collections.abc import Awaitable, Callable
from typing import Annotated
from uuid import UUID

import typer

from app.bootstrap.foundation import Foundation
from app.commands.console import actor, fail, run, say
from app.infra.clock import IST
from app.queue.connection import build_queue_redis
from app.queue.producer import RedisDoorbell
from app.services.dead_letters import DeadLetters, NotParked

alerts = typer.Typer(no_args_is_help=True)
dead_letters = typer.Typer(no_args_is_help=True)

Reason = Annotated[str, typer.Option(help="Why; it is kept in the audit log")]
Limit = Annotated[int, typer.Option(min=1, max=1000, help="At most so many, the newest first")]


@alerts.command("list")
def list_alerts(
    everything: Annotated[bool, typer.Option("--all", help="Closed ones too")] = False, limit: Limit = 100
) -> None:
    """List the open alerts, newest first."""

    async def _list(base: Foundation) -> None:
        async with base.uow.statement() as tx:
            found = await tx.alerts.page(open_only=not everything, account_id=None, kind=None, before=None, limit=limit)
        for one in found:
            state = "closed" if one.closed_at else "open"
            opened = one.opened_at.astimezone(IST)
            typer.echo(f"{one.id}\t{opened:%Y-%m-%d %H:%M:%S} IST\t{state}\t{one.severity}\t{one.kind}\t{one.message}")

    run(_list)


@alerts.command("close")
def close_alert(alert_id: Annotated[UUID, typer.Argument(help="The alert")], reason: Reason) -> None:
    """Close an alert; where its cause lasts, a new one is opened."""

    async def _close(base: Foundation) -> bool:
        async with base.uow.transaction() as tx:
            closed = await tx.alerts.close_one(alert_id)
            if closed:
                await tx.audit.add(actor=actor(), action="alert.close", subject=str(alert_id), reason=reason)
        return closed

    if not run(_close):
        fail(f"there is no open alert {alert_id}")
    say(f"alert {alert_id} is closed")


@dead_letters.command("list")
def list_dead_letters(limit: Limit = 100) -> None:
    """List the commands that are parked, newest first."""

    async def _list(base: Foundation) -> None:
        async with base.uow.statement() as tx:
            for one in await tx.dead_letters.page(account_id=None, before=None, limit=limit):
                typer.echo(f"{one.command_id}\t{one.kind}\torder {one.order_id}\t{one.attempt} attempts\t{one.reason}")

    run(_list)


@dead_letters.command("requeue")
def requeue(command_id: Annotated[UUID, typer.Argument(help="The parked command")], reason: Reason) -> None:
    """Send a parked command on its way again, through every gate."""
    _settle(command_id, lambda letters: letters.requeue(command_id, actor=actor(), reason=reason))
    say(f"command {command_id} is requeued")


@dead_letters.command("close")
def close(command_id: Annotated[UUID, typer.Argument(help="The parked command")], reason: Reason) -> None:
    """Give a parked command up: a placement's order is cancelled and never sent."""
    _settle(command_id, lambda letters: letters.close(command_id, actor=actor(), reason=reason))
    say(f"command {command_id} is closed")


def _settle(command_id: UUID, settle: Callable[[DeadLetters], Awaitable[UUID]]) -> None:
    async def _do(base: Foundation) -> bool:
        redis = build_queue_redis(base.config.redis_url.get_secret_value())
        try:
            await settle(DeadLetters(uow=base.uow, doorbell=RedisDoorbell(redis, clock=base.clock)))
        except NotParked:
            return False
        finally:
            await redis.aclose()
        return True

    if not run(_do):
        fail(f"command {command_id} is not parked")
