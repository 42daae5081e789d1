"""What is told of each execution, for logs, metrics and traces."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from claudeprov.mask import masked_within
from claudeprov.notice import Notices
from claudeprov.response import ToolCall
from claudeprov.tools.result import ToolResult, ToolRun


class Notes:
    """Posts ``tools.started`` and ``tools.ended`` of a run, and between them of each call ``tool.started`` and
    ``tool.ended``, the latter of calls that were not made, too.

    Args:
        notices: Where to; ``None``: nowhere.
        run_id: Of the run that calls.
        with_content: Whether arguments and results may be told.
        tags: Of the run; ``run`` and ``task`` are told of each call.
    """

    def __init__(
        self,
        notices: Notices | None,
        run_id: str,
        *,
        with_content: bool = False,
        tags: Mapping[str, Any] | None = None,
    ) -> None:
        self._notices = notices
        self._run_id = run_id
        self._named = {name: tags[name] for name in ("run", "task") if tags and name in tags}
        self._with_content = with_content

    def run_started(self, model: str | None) -> None:
        """Tell that the run begins."""
        self._post("tools.started", {}, model=model)

    def run_ended(self, run: ToolRun, seconds: float) -> None:
        """Tell how the run ended: why it stopped, after how many answers and calls."""
        error = None if run.error is None else run.error.code
        told = {"stopped": run.stopped, "rounds": run.rounds, "calls": len(run.calls), "seconds": seconds}
        self._post("tools.ended", {}, **told, **({} if error is None else {"error": error}))

    def started(self, round: int, call: ToolCall) -> None:
        """Tell that a call begins, in the context in which it is made: what a listener binds there holds for it."""
        self._post(
            "tool.started", {"arguments": call.input}, tool=call.name, tool_use_id=call.id, round=round, **self._named
        )

    def ended(self, result: ToolResult) -> None:
        """Tell what came of a call: its outcome, for how many seconds it ran, the characters of its result."""
        self._post(
            "tool.ended",
            {"arguments": result.arguments, "content": result.content},
            tool=result.name,
            tool_use_id=result.id,
            round=result.round,
            outcome=result.outcome,
            seconds=result.seconds,
            size=result.size,
            **self._named,
            **({} if result.error is None else {"error": type(result.error).__name__}),
        )

    def _post(self, name: str, content: dict[str, Any], **fields: Any) -> None:
        if self._notices is not None:
            told = masked_within(fields)  # the model names tools as it likes, and a user his runs
            self._notices.post(name, self._run_id, **told, **(content if self._with_content else {}))
