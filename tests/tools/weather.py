"""The tools that the tests' own configuration declares."""

from __future__ import annotations

import claudeprov

FORECAST = {"Paris": 21, "Oslo": 4}


def get_weather(city: str, unit: str) -> str:
    if city not in FORECAST:
        raise claudeprov.ToolError(f"no weather is known of {city}; the cities are {', '.join(FORECAST)}")
    return f"{FORECAST[city]} °{unit} and dry"


@claudeprov.tool(effects=["write"], timeout=5)
async def forget_weather(city: str) -> None:
    """Forget the weather of a city.

    Args:
        city: Its name.
    """
