"""From overrides to a provider."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from claudeprov.provider import AnthropicClaudeProvider
from claudeprov.settings import Settings


def open_provider(
    overrides: Sequence[str] = (), *, config_dir: str | Path | None = None, settings: Settings | None = None
) -> AnthropicClaudeProvider:
    """Compose a configuration and give its provider, to be entered with ``async with``.

    Works in a Hydra program of your own, from several threads, and several times at once.

    Args:
        overrides: In Hydra's grammar: ``["model=sonnet", "retry.max_attempts=6"]``.
        config_dir: A folder of configuration of your own; see ``claudeprov config --help``.
        settings: A configuration that was composed before, in place of the above.

    Raises:
        ConfigurationError: A group, option, key or value is wrong; all that is wrong is told, with what is allowed.
    """
    if settings is None:
        from claudeprov.compose import compose

        settings = compose(overrides, config_dir=config_dir)
    elif overrides or config_dir is not None:
        raise TypeError("give either settings, or overrides and config_dir")
    return AnthropicClaudeProvider(settings)
