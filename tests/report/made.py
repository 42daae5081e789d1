"""Results and rows that reports are made of, and names that mean harm."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from claudeprov.bench.result import Failure, Row, RunResult, Summary

NOW = datetime(2026, 11, 22, 13, tzinfo=UTC)
HOSTILE = (
    "<script>window.harm = 1</script>",
    "</script><img src=x onerror='window.harm = 1'>",
    "\"><svg onload='window.harm = 1'>",
    "' & \" `quotes`",
    "{{ 7 * 7 }}{% raw %}",
    "مرحبا\u202e turned",
    "🧑\u200d💻 at work",
    "nul\x01l\x1b[31m",
    "https://example.com/x.js",
    "x" * 10_000,
)


def task(name: str, **fields: Any) -> Row:
    """A task that passed, unless *fields* say otherwise."""
    given: dict[str, Any] = {"id": name, "kind": "generation", "verdict": "passed", "seconds": 2.0}
    given |= {"first_chunk_seconds": 0.5, "input_tokens": 100, "output_tokens": 30, "cost_usd": Decimal("0.00075")}
    given |= {"stop_reason": "end_turn", "attempts": 1, "model": "claude-haiku-4-5", "text": f"the answer to {name}"}
    return Row(**(given | fields))


def failed(name: str, code: str = "overloaded", message: str = "Overloaded") -> Row:
    """A task whose call failed."""
    failure = Failure(kind="OverloadedError", code=code, message=message)
    return task(
        name, verdict=None, failure=failure, cost_usd=None, output_tokens=None, first_chunk_seconds=None, text=""
    )


def result(*rows: Row, **fields: Any) -> RunResult:
    """A run of *rows*."""
    given: dict[str, Any] = {"name": "a-run", "suite": "code", "suite_digest": "d", "tasks": len(rows)}
    given |= {"model": "haiku", "endpoint": "anthropic", "mode": "live", "timing": "live", "started_at": NOW}
    given |= {"seconds": 9.0, "versions": {"claudeprov": "0.1.0"}, "settings": {"retry": {"max_attempts": 4}}}
    given |= fields
    return RunResult(**given, rows=rows, summary=Summary.of(rows, given["timing"]))
