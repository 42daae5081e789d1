"""The packages of the extra ``tools``, without which the code analysis tools cannot be configured."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from claudeprov.errors import ConfigurationError


def required(module: str) -> Any:
    """Import a module of the extra.

    Raises:
        ConfigurationError: It is not installed.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"the code analysis tools need {error.name}; install it with: pip install 'claudeprov[tools]'"
        ) from error
