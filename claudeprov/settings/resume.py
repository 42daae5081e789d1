"""Streams that break, and are gone on with."""

from __future__ import annotations

from claudeprov.settings.kind import Count, Group


class ResumeSettings(Group):
    """How often a stream that breaks in mid-text is gone on with."""

    max_joins: Count = 3
    """Most times of one stream; each is a new request, and what came before it is paid for too."""
