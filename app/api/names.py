"""Names that people use, to ids and back."""

from uuid import UUID

from app.api.dependencies import ApiServices
from app.core.errors import InvalidOrder
from app.core.instruments import Instrument


async def account_id_of(services: ApiServices, name: str | None) -> UUID | None:
    """Return the id of the named account; None for no name. Raises `InvalidOrder` for an unknown one."""
    if name is None:
        return None
    account = await services.accounts.by_name(name)
    if account is None:
        raise InvalidOrder(field="account", code="unknown_account", message=f"there is no account {name!r}")
    return account.id


async def instrument_id_of(services: ApiServices, key: str | None) -> UUID | None:
    """Return the id of the named instrument; None for no name. Raises `InvalidOrder` for an unknown one."""
    if key is None:
        return None
    instrument = await services.instruments.by_key(key)
    if instrument is None:
        raise InvalidOrder(field="instrument", code="unknown_instrument", message=f"there is no instrument {key!r}")
    return instrument.id


async def account_names(services: ApiServices, ids: set[UUID]) -> dict[UUID, str]:
    """Return the names of accounts."""
    found = {account_id: await services.accounts.by_id(account_id) for account_id in ids}
    return {account_id: account.name if account else str(account_id) for account_id, account in found.items()}


async def instrument_of(services: ApiServices, instrument_id: UUID) -> Instrument:
    """Return an instrument that a row refers to: the database guarantees that it exists."""
    instrument = await services.instruments.by_id(instrument_id)
    if instrument is None:
        await services.instruments.load()
        instrument = await services.instruments.by_id(instrument_id)
    if instrument is None:
        raise LookupError(f"instrument {instrument_id} is referred to but not there")
    return instrument
