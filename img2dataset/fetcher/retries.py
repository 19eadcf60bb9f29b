"""What may pass: which failures are tried again, in a moment or another day, and after how long."""

from __future__ import annotations

import random
import time
from collections.abc import Collection
from email.utils import parsedate_to_datetime

from img2dataset.errors import Reason, http_status_reason
from img2dataset.options import Limits

# What may pass within seconds. A timeout is not among them: it has cost enough.
RETRIED = frozenset(
    {
        Reason.DNS_TEMPORARY,
        Reason.CONNECTION_REFUSED,
        Reason.CONNECTION_RESET,
        *(http_status_reason(status) for status in (429, 500, 502, 503, 504)),
    }
)
# What may be gone another day.
PASSING = RETRIED | {
    Reason.TIMED_OUT,
    Reason.DNS_NO_ANSWER,
    Reason.CONNECTION_FAILED,
    Reason.HOST_UNREACHABLE,
    Reason.HOST_FAILING,
    Reason.TLS_FAILED,
    Reason.PROXY_FAILED,
    Reason.BODY_CUT_SHORT,
    Reason.ROBOTS_TXT_UNREACHABLE,
    http_status_reason(408),
}
FIRST_BACK_OFF = 1.0
_LONGEST_BACK_OFF = 60.0


def is_to_retry(error_message: str, retry_statuses: Collection[str] | None) -> bool:
    """Whether ``incremental_mode=retry_failed`` fetches a row again; None stands for the passing messages."""
    return error_message in (PASSING if retry_statuses is None else retry_statuses)


def wait_before_retry(reason: str, retries: int, retry_after: float | None, limits: Limits) -> float | None:
    """Seconds until a job that failed for `reason`, after so many `retries`, is tried again; None: it stays failed.

    A server that asks for a wait (`retry_after`) gets it, if it fits into the timeout; if not, there is no retry.
    """
    if reason not in RETRIED or retries >= limits.retries:
        return None
    if retry_after is None:
        return back_off(retries)
    return retry_after + random.uniform(0, 0.25) if retry_after <= limits.timeout else None


def back_off(retries: int) -> float:
    """Seconds before the next attempt, so many `retries` having been made."""
    return random.uniform(0.5, 1.0) * min(FIRST_BACK_OFF * 2.0**retries, _LONGEST_BACK_OFF)


def retry_after_seconds(value: str | None) -> float | None:
    """The seconds to wait that a ``Retry-After`` header asks for, given in seconds or as a date."""
    if value is None:
        return None
    if value.isdecimal():
        return float(value[:9])
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None
