"""The keeper: while it holds the lease it runs its duties; when the lease is lost all of them end."""

import asyncio
from collections.abc import Callable

from app.infra.lifecycle import every
from app.keeper.account_watches import AccountWatches
from app.keeper.dead_claims import DeadClaims
from app.keeper.order_changes import OrderChanges
from app.keeper.sweep import Sweep
from app.repositories.leases import Lease, LeaseLost

SWEEP_EVERY_S = 1.0
DEAD_CLAIMS_EVERY_S = 1.0
ORDER_CHANGES_EVERY_S = 1.0
ACCOUNTS_EVERY_S = 0.2
"""How soon a new account is logged in, or a dead session replaced."""


class Keeper:
    """Runs the duties. Each gets the lease, so that every write of theirs is fenced by it."""

    def __init__(
        self,
        *,
        sweep: Callable[[Lease], Sweep],
        dead_claims: Callable[[Lease], DeadClaims],
        order_changes: Callable[[Lease], OrderChanges],
        watches: Callable[[Lease], AccountWatches],
    ) -> None:
        self._sweep = sweep
        self._dead_claims = dead_claims
        self._order_changes = order_changes
        self._watches = watches

    async def lead(self, lease: Lease, over: asyncio.Event) -> None:
        """Run all duties until `over`."""
        sweep, dead_claims, watches = self._sweep(lease), self._dead_claims(lease), self._watches(lease)
        changes = self._order_changes(lease)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(every("sweep", SWEEP_EVERY_S, over, sweep.turn, fatal=(LeaseLost,)))
                group.create_task(every("dead_claims", DEAD_CLAIMS_EVERY_S, over, dead_claims.turn, fatal=(LeaseLost,)))
                group.create_task(every("changes", ORDER_CHANGES_EVERY_S, over, changes.turn, fatal=(LeaseLost,)))
                group.create_task(every("accounts", ACCOUNTS_EVERY_S, over, watches.turn, fatal=(LeaseLost,)))
        finally:
            await watches.close()
