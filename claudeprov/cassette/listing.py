"""What is worth knowing of a cassette at a glance."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from claudeprov.cassette.file import load
from claudeprov.cassette.interaction import LOCAL, interactions
from claudeprov.cassette.match import sent_of
from claudeprov.cassette.users import Project
from claudeprov.catalog import Status, catalog


@dataclass(frozen=True, slots=True)
class RecordedModel:
    """A model that a cassette has answers of."""

    name: str
    """As requests ask for it."""
    lifecycle: Status | None
    """``None``: it is not in the catalogue."""
    replacement: str | None
    """The model that is to take its place, if it is known."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One cassette of a list."""

    path: Path
    bytes: int
    interactions: int
    recorded_at: str | None
    """The oldest interaction, RFC 3339; ``None`` where something else recorded it."""
    age_days: float | None
    models: tuple[RecordedModel, ...]
    used_by: tuple[str, ...]
    """Suites, tests and files of the project that use it."""


def entry_of(path: Path, project: Project, *, now: datetime) -> Entry:
    """Read the cassette *path*.

    Raises:
        CassetteError: It is none.
    """
    recorded = list(interactions(load(path)))
    details = [item.details for item in recorded if item.details]
    oldest = min((known.recorded_at for known in details), default=None)
    models = {}
    for item in recorded:
        if name := (item.details and item.details.model) or sent_of(item.request).model:
            models[name] = _model(name, local=item.details is not None and item.details.server.endswith(LOCAL))
    return Entry(
        path=path,
        bytes=path.stat().st_size,
        interactions=len(recorded),
        recorded_at=oldest,
        age_days=None if oldest is None else (now - datetime.fromisoformat(oldest)).total_seconds() / 86400,
        models=tuple(models.values()),
        used_by=tuple(project.users(path, dict.fromkeys(known.suite for known in details if known.suite))),
    )


def _model(name: str, *, local: bool) -> RecordedModel:
    known = catalog().get(name)
    if local:
        return RecordedModel(name, "local", None)
    if known is None:
        return RecordedModel(name, None, None)
    return RecordedModel(name, known.lifecycle.status, known.lifecycle.replacement)
