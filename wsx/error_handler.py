"""What an error means: exception, close code or HTTP status -> category and recovery. Tables, and total ones.

    error ──▶ table ──▶ Verdict ──▶ the user's override for its category, if any ──▶ Verdict

Not here: the delays that follow from a verdict (reconnection.py, backoff.py), the words for people (explanation.py).
"""

import logging
import ssl
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TypeAlias

from wsx.errors import (
    Category,
    ConnectionClosed,
    ConnectionFailed,
    HandshakeRejected,
    Pace,
    Recovery,
    Stage,
    Verdict,
    WsxError,
)

_log = logging.getLogger("wsx")

Override: TypeAlias = Callable[[BaseException, Verdict], Recovery | Verdict]

# ---- the tables -----------------------------------------------------------------------------------------------------

# The peer's close codes, the first row that holds one counts (RFC 6455 7.4, the IANA registry for 1012 to 1014 and 3xxx).
_CLOSE_CODES: tuple[tuple[range, Recovery, Pace], ...] = (
    (range(1000, 1002), Recovery.RECONNECT, Pace.IMMEDIATE),
    (range(1005, 1007), Recovery.RECONNECT, Pace.IMMEDIATE),  # no code, no CLOSE at all
    (range(1008, 1009), Recovery.HALT, Pace.LONGEST),  # policy violation
    (range(1011, 1012), Recovery.RECONNECT, Pace.IMMEDIATE),  # the server failed
    (range(1012, 1013), Recovery.RECONNECT, Pace.JITTERED),  # it restarts, and everybody comes back
    (range(1013, 1014), Recovery.RECONNECT, Pace.LONGEST),  # it is overloaded: "try again later"
    (range(1014, 1015), Recovery.RECONNECT, Pace.JITTERED),  # bad gateway
    (range(3000, 3001), Recovery.HALT, Pace.LONGEST),  # unauthorized
    (range(3003, 3004), Recovery.HALT, Pace.LONGEST),  # forbidden
    (range(3000, 5000), Recovery.RECONNECT, Pace.IMMEDIATE),  # libraries' and applications' own
)
# 1002, 1003, 1007, 1009, 1010: the peer says that this side broke the protocol. All others may not be on the wire.
_ANY_OTHER_CODE = (Recovery.NOTIFY, Pace.LONGEST)

# Answers to the upgrade request other than 101.
_STATUSES: tuple[tuple[range, Recovery, Pace], ...] = (
    (range(300, 400), Recovery.RECONNECT, Pace.LONGEST),  # redirects are not followed
    (range(401, 402), Recovery.HALT, Pace.LONGEST),
    (range(403, 404), Recovery.HALT, Pace.LONGEST),
    (range(407, 408), Recovery.RECONNECT, Pace.LONGEST),  # a proxy's credentials
    (range(429, 430), Recovery.RECONNECT, Pace.LONGEST),  # too many requests, unless Retry-After says how long
)
_ANY_OTHER_STATUS = (Recovery.RECONNECT, Pace.JITTERED)

# What is no WsxError, the first row that fits counts.
_CONNECTION = Verdict(Category.CONNECTION, Recovery.RECONNECT)
_APPLICATION = Verdict(Category.APPLICATION, Recovery.PASS_THROUGH)
_EXCEPTIONS: tuple[tuple[tuple[type[BaseException], ...], Verdict], ...] = (
    ((ssl.SSLEOFError, ssl.SSLZeroReturnError), _CONNECTION),
    ((ssl.SSLError,), replace(_CONNECTION, pace=Pace.LONGEST)),
    ((FileNotFoundError, FileExistsError, IsADirectoryError, NotADirectoryError), _APPLICATION),
    ((ChildProcessError, ProcessLookupError), _APPLICATION),
    ((OSError, EOFError), _CONNECTION),  # TimeoutError, ConnectionError and gaierror are OSErrors
    ((BaseException,), _APPLICATION),  # CancelledError, KeyboardInterrupt, what a callback raised
)

_CATEGORIES = {
    Recovery.RECONNECT: Category.CONNECTION,
    Recovery.NOTIFY: Category.PROTOCOL,
    Recovery.HALT: Category.AUTHENTICATION,
    Recovery.PASS_THROUGH: Category.APPLICATION,
}

# ---- judging --------------------------------------------------------------------------------------------------------


def judge(error: BaseException) -> Verdict:
    """What wsx makes of an exception that opening, keeping or restoring a connection ended with. Total."""
    if isinstance(error, HandshakeRejected):
        return judge_status(error.status, error.retry_after)
    if isinstance(error, WsxError):
        pace = Pace.LONGEST if _is_refused_by_tls(error) else Pace.IMMEDIATE
        return Verdict(error.category, error.recovery, getattr(error, "retry_after", None), pace)
    return next(verdict for kinds, verdict in _EXCEPTIONS if isinstance(error, kinds))


def judge_close(code: int, changed: Mapping[int, Recovery] | None = None) -> Verdict:
    """What wsx makes of the close code a connection ended with. Total. changed: recoveries that replace the table's."""
    rows = ((recovery, pace) for codes, recovery, pace in _CLOSE_CODES if code in codes)
    recovery, pace = next(rows, _ANY_OTHER_CODE)
    recovery = (changed or {}).get(code, recovery)
    return Verdict(_CATEGORIES[recovery], recovery, None, pace)


def judge_status(status: int, retry_after: float | None = None) -> Verdict:
    """What wsx makes of an HTTP status that is not 101. Total. retry_after: seconds that the server asked to wait."""
    rows = ((recovery, pace) for statuses, recovery, pace in _STATUSES if status in statuses)
    recovery, pace = next(rows, _ANY_OTHER_STATUS)
    if retry_after is not None and pace is Pace.LONGEST and status == 429:
        pace = Pace.JITTERED  # the server knows better how long
    return Verdict(_CATEGORIES[recovery], recovery, retry_after, pace)


def _is_refused_by_tls(error: WsxError) -> bool:
    """A certificate, a version or a pin will not be better in a second; a handshake that was cut or late may be."""
    if not isinstance(error, ConnectionFailed) or error.stage is not Stage.TLS:
        return False
    cause = error.__cause__
    return judge(cause).pace is Pace.LONGEST if isinstance(cause, OSError) else True


# ---- with the user's changes ----------------------------------------------------------------------------------------


class ErrorHandler:
    """The tables with the user's changes.

    overrides: category -> function(error, verdict) that returns a `Recovery` or a whole `Verdict` instead. It is called
    in the client's thread and must not block; where it raises, that is logged and the table's verdict holds.
    close_codes: close code -> `Recovery`. Raises TypeError and ValueError for what is neither.
    """

    def __init__(
        self,
        overrides: Mapping[Category, Override] | None = None,
        close_codes: Mapping[int, Recovery] | None = None,
    ) -> None:
        self._overrides = {Category(category): override for category, override in (overrides or {}).items()}
        self._close_codes = {code: Recovery(recovery) for code, recovery in (close_codes or {}).items()}
        for category, override in self._overrides.items():
            if not callable(override):
                raise TypeError(f"the override for {category} must be callable, not {type(override).__name__}")
        for code in self._close_codes:
            if not isinstance(code, int):
                raise TypeError(f"a close code must be an int, not {type(code).__name__}")

    def judge(self, error: BaseException, *, in_callback: bool = False) -> Verdict:
        """What to do about an exception. in_callback: the user's code raised it; the connection is not to blame."""
        return self._overridden(error, _APPLICATION if in_callback else judge(error))

    def judge_close(self, code: int, reason: str = "") -> Verdict:
        """What to do about a connection that the peer closed, as RFC 6455 7.1.5 and 7.1.6 give its code and reason."""
        return self._overridden(ConnectionClosed(code, reason), judge_close(code, self._close_codes))

    def _overridden(self, error: BaseException, verdict: Verdict) -> Verdict:
        override = self._overrides.get(verdict.category)
        if override is None:
            return verdict
        try:
            return _as_verdict(override(error, verdict), verdict)
        except Exception:
            _log.exception("the override for %s errors failed; %s holds", verdict.category, verdict.recovery)
            return verdict


def _as_verdict(answer: Any, verdict: Verdict) -> Verdict:
    return answer if isinstance(answer, Verdict) else replace(verdict, recovery=Recovery(answer))
