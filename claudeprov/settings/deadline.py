"""Time limits."""

from __future__ import annotations

from claudeprov.settings.kind import Duration, Group


class DeadlineSettings(Group):
    """Time limits; ``null`` is no limit."""

    total: Duration | None = 600.0
    """Seconds for the whole call: its attempts, the waits between them and the reading."""
    connect: Duration | None = 5.0
    """Seconds to make a connection."""
    first_event: Duration | None = 300.0
    """Seconds from the sending of a request to the first event of its stream that is no ping."""
    between_events: Duration | None = 120.0
    """Seconds without a byte of a stream, before its first event too; the API sends pings while it is silent."""
    pings: Duration | None = 300.0
    """Seconds in which no event but pings comes; a model that thinks without showing it sends nothing else."""
