"""When a service that fails is left alone."""

from __future__ import annotations

from claudeprov.settings.kind import Code, Count, Duration, Group


class BreakerSettings(Group):
    """When calls to a failing service are refused at once."""

    failures: Count = 5
    """Failed calls within ``window`` that open the breaker."""
    window: Duration = 60.0
    """Seconds that a failed call counts."""
    open_for: Duration = 300.0
    """Seconds for which it stays open before a trial."""
    trials: Count = 1
    """Calls let through at a time on trial."""
    counts: tuple[Code, ...] = (
        "server_error",
        "overloaded",
        "connection_failed",
        "timeout",
        "stream_interrupted",
        "invalid_response",
    )
    """Codes of the errors that count as failures of the service."""
