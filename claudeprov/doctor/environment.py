"""Python, and the versions of the packages that are installed for claudeprov."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Iterator
from functools import partial
from importlib import metadata

from claudeprov import __version__
from claudeprov.doctor.check import Check
from claudeprov.settings import Settings

_NAME = "claudeprov"
_TRIED = "Programming Language :: Python :: 3."


async def python() -> Check:
    """Whether claudeprov is made for this version of Python, and was tried with it, as its own metadata say."""
    from packaging.specifiers import SpecifierSet

    found = partial(Check, "python", details={"version": platform.python_version(), "system": platform.platform()})
    version = platform.python_version()
    told = metadata.metadata(_NAME)
    needed = told["Requires-Python"]
    tried = [line.removeprefix(_TRIED) for line in told.get_all("Classifier", ()) if line.startswith(_TRIED)]
    if not SpecifierSet(needed).contains(version, prereleases=True):
        return found("fault", f"Python {version}; claudeprov needs {needed}", f"install Python {needed}")
    if platform.python_version_tuple()[1] not in tried:
        newest = max(tried, key=int)
        advice = f"if something fails in a way that nobody has seen, try Python 3.{newest}"
        return found("warning", f"Python {version}, with which claudeprov was not tried", advice)
    return found("ok", f"Python {version}")


async def packages(extras: Iterable[str] = ()) -> Check:
    """Whether all that claudeprov needs is installed, in versions that go together.

    Looked at are its own bounds, those of *extras*, and what those packages ask of each other in turn.
    """
    conflicts = list(dict.fromkeys(_conflicts(set(extras))))
    installed = metadata.version(_NAME)
    details = {"claudeprov": installed, "extras": sorted(extras), "conflicts": conflicts}
    found = partial(Check, "packages", details=details)
    if conflicts:
        wanted = f"{_NAME}[{','.join(sorted(extras))}]" if extras else _NAME
        advice = f"pip install --upgrade '{wanted}', best into an environment of its own"
        return found("fault", "; ".join(conflicts), advice)
    if installed != __version__:
        what = f"the code is claudeprov {__version__}, installed is {installed}"
        return found("warning", what, "install it anew: pip install -e . in a checkout, else pip install --upgrade")
    told = f", for {', '.join(sorted(extras))} too" if extras else ""
    return found("ok", f"claudeprov {installed} and all that it needs{told}")


def extras_of(settings: Settings) -> set[str]:
    """Return the extras without which what *settings* configure does not work."""
    candidates = settings.fallback.to if settings.fallback else ()
    endpoints = [settings.endpoint, *(candidate.endpoint for candidate in candidates if candidate.endpoint)]
    extras = {endpoint.kind for endpoint in endpoints} & {"bedrock", "vertex"}
    telemetry, ledger, tools = settings.telemetry, settings.ledger, settings.tools
    targets = [tool.target or "" for tool in tools.declared.values()] if tools else []
    needed = {
        "redis": settings.state.kind == "redis",
        "postgres": ledger is not None and ledger.kind == "postgres",
        "otlp": telemetry is not None and telemetry.exporter == "otlp",
        "prometheus": telemetry is not None and telemetry.exporter == "prometheus",
        "tools": any(target.startswith("claudeprov.tools.") for target in targets),
    }
    return extras | {extra for extra, is_needed in needed.items() if is_needed}


def _conflicts(extras: set[str]) -> Iterator[str]:
    """Yield what is missing, or is installed in a version that another package does not go with."""
    from packaging.requirements import Requirement

    waiting = [(_NAME, frozenset(extras))]
    seen = set(waiting)
    while waiting:
        name, asked = waiting.pop()
        for line in metadata.requires(name) or ():
            requirement = Requirement(line)
            marker = requirement.marker
            if marker and not any(marker.evaluate({"extra": extra}) for extra in (*asked, "")):
                continue
            try:
                version = metadata.version(requirement.name)
            except metadata.PackageNotFoundError:
                yield f"{name} needs {requirement.name}{requirement.specifier}, which is not installed"
                continue
            if not requirement.specifier.contains(version, prereleases=True):
                yield f"{name} needs {requirement.name}{requirement.specifier}, installed is {version}"
            further = (requirement.name, frozenset(requirement.extras))
            if further not in seen:
                seen.add(further)
                waiting.append(further)
