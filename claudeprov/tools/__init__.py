"""Tools: what they are, how configuration declares them, and the loop that runs them."""

from claudeprov.tools.tool import Tool, ToolError

__all__ = ["Tool", "ToolError"]
