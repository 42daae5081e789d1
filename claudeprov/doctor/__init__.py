"""What is wrong with this machine, a configuration and the ways to what it needs, and what to do about it.

Nothing here costs tokens: the service is asked for its list of models, or on a platform for a count, both free.
"""

from __future__ import annotations

from claudeprov.doctor.check import Check, Status

__all__ = ["Check", "Status"]
