"""Commands: claiming them, recording how they ended, and finding those that nobody looks after."""

from app.repositories.command_care import TOO_MANY_ATTEMPTS, CommandCare
from app.repositories.command_claims import CommandClaims
from app.repositories.command_records import CommandRecords
from app.repositories.command_rows import Claim, Finding, Recorded, Standing

__all__ = ["TOO_MANY_ATTEMPTS", "Claim", "CommandRepository", "Finding", "Recorded", "Standing"]


class CommandRepository(CommandClaims, CommandRecords, CommandCare):
    """SQL of the order_commands table, with the orders that the commands move."""
