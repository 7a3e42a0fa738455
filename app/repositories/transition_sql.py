"""The transition table as SQL: what the statements that move orders compare and set."""

from app.core.orders import TERMINAL_STATUSES
from app.core.transitions import OrderEvent, sources


def case_by_status(event: OrderEvent) -> str:
    """Return the SQL expression for the status that follows `event`, from the transition table."""
    whens = " ".join(f"WHEN '{status}' THEN '{to}'" for status, to in sources(event).items())
    return f"CASE o.status {whens} END"


def is_legal(event: OrderEvent) -> str:
    """Return the SQL condition that `event` is legal for an order found by its id.

    It does not name the statuses as `legal_statuses` does, for the planner must not look for the order among all
    open ones: as long as it has no statistics that seems as good to it, and a backlog then makes every claim slower.
    """
    return f"({case_by_status(event)}) IS NOT NULL"


def legal_statuses(event: OrderEvent) -> str:
    """Return the SQL list of statuses in which `event` is legal."""
    return ", ".join(f"'{status}'" for status in sources(event))


TERMINAL = ", ".join(f"'{status}'" for status in sorted(TERMINAL_STATUSES))
"""The SQL list of statuses that an order has when it is over."""

CHANGE_IS_OVER = f"""(o.status IN ({TERMINAL}) AND NOT (o.status = 'COMPLETE' AND (
    c.kind = 'MODIFY' AND c.state IN ('SUBMITTING', 'UNKNOWN') AND c.quantity > o.filled_quantity
    OR c.kind = 'CANCEL' AND EXISTS (
      SELECT 1 FROM order_commands m WHERE m.order_id = o.id AND m.kind = 'MODIFY' AND m.state <> 'DONE'
        AND m.quantity > o.filled_quantity)
  )))"""
"""The SQL condition that a modify or cancel `c` can do nothing any more for its order `o`.

An order of which all has traded is not over while nobody knows whether the broker raised its quantity: what was added
is to be cancelled then.
"""
