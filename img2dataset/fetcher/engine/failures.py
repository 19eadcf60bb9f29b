"""What the system says when a connection fails, in our words: the one table of all engines."""

from __future__ import annotations

import errno

from img2dataset.errors import Reason

ERRNO_REASONS = {
    errno.ECONNREFUSED: Reason.CONNECTION_REFUSED,
    errno.ECONNRESET: Reason.CONNECTION_RESET,
    errno.EPIPE: Reason.CONNECTION_RESET,
    errno.EHOSTUNREACH: Reason.HOST_UNREACHABLE,
    errno.ENETUNREACH: Reason.HOST_UNREACHABLE,
    errno.ETIMEDOUT: Reason.TIMED_OUT,
}
