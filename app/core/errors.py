"""Every error that the trading rules raise.

SaudaError
├── InvalidOrder         the request can never be right as written: field, code, what to do
├── OrderRefused         well-formed, but refused in the present state: code, what to do
├── IllegalTransition    a status change that the transition table does not know
├── BrokerUnreadable     a read of the broker's books failed; never means "nothing there"
│   └── SessionDead      the broker says that the session is over: log in again
├── LoginRefused         the broker refused the login itself (wrong PIN, TOTP, key)
└── PaperGuardError      a paper account could reach something that is not the paper exchange
"""


class SaudaError(Exception):
    """Base of all errors of the trading rules. `code` is stable: clients and alerts rely on it."""

    code = "error"


class InvalidOrder(SaudaError):
    """The order can never be accepted as written.

    `field` names the offending request field, `code` is stable, the message says what would be right.
    """

    def __init__(self, *, field: str, code: str, message: str) -> None:
        super().__init__(message)
        self.field = field
        self.code = code
        self.message = message


class OrderRefused(SaudaError):
    """The order is well-formed but refused by the present state of market, account or policy."""

    def __init__(self, *, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class IllegalTransition(SaudaError):
    """The transition table has no row for this status and event."""

    code = "illegal_transition"

    def __init__(self, *, status: str, event: str) -> None:
        super().__init__(f"no transition from {status} on {event}")
        self.status = status
        self.event = event


class BrokerUnreadable(SaudaError):
    """A read of the broker failed, was partial or could not be understood. It never means "empty"."""

    code = "broker_unreadable"

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class SessionDead(BrokerUnreadable):
    """The broker says that this session is over; a new login is needed before anything else."""

    code = "broker_session_dead"


class LoginRefused(SaudaError):
    """The broker refused the login itself. `configuration` is true when trying again cannot help."""

    code = "broker_login_refused"

    def __init__(self, message: str, *, broker_code: str, configuration: bool) -> None:
        super().__init__(message)
        self.broker_code = broker_code
        self.configuration = configuration


class PaperGuardError(SaudaError):
    """A paper account's client would have talked to something that is not the paper exchange."""

    code = "paper_guard"
