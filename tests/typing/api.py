"""What users write, for mypy to check; never run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Literal

from pydantic import BaseModel, TypeAdapter

import claudeprov
from claudeprov import (
    AIProvider,
    AnthropicClaudeProvider,
    Call,
    Clock,
    Cost,
    Health,
    MessageChunk,
    MessageRequest,
    MessageResponse,
    MessageStream,
    Middleware,
    Next,
    Outcome,
    OutputError,
    OutputResponse,
    OutputStream,
    PermissionRequest,
    ProviderError,
    RateLimitError,
    RouteLimits,
    Stream,
    StreamInterruptedError,
    TokenCount,
    Tool,
    ToolCall,
    ToolError,
    ToolResult,
    ToolRun,
    ToolStream,
    Usage,
)
from claudeprov.chain import chain
from claudeprov.compose import compose


async def print_an_answer() -> None:
    async with claudeprov.open_provider(["model=sonnet", "retry=patient"]) as provider:
        async for chunk in provider.send_message({"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 200}):
            print(chunk.text, end="")  # noqa: T201


async def use_every_form(provider: AnthropicClaudeProvider, request: MessageRequest) -> MessageResponse:
    stream: MessageStream = provider.send_message(request, tags={"task": "t1"})
    response: MessageResponse = await stream
    pieces: AsyncIterator[str] = provider.send_message(request).text()
    text: str = "".join([piece async for piece in pieces])
    async with provider.send_message({"messages": [], "stream": False}) as entered:
        async for chunk in entered:
            of_a_chunk: tuple[str, int | None, str, str, str, str | None] = (
                chunk.type,
                chunk.index,
                chunk.text,
                chunk.thinking,
                chunk.partial_json,
                chunk.delta_type,
            )
            whole: dict[str, Any] = chunk.data
            if len(text) + len(whole) > len(of_a_chunk):
                await entered.cancel()
        partial: MessageResponse = entered.response
    return partial if partial.stop_reason is None else response


class Person(BaseModel):
    name: str
    age: int


async def ask_for_an_object(provider: AnthropicClaudeProvider, request: MessageRequest) -> str:
    stream: OutputStream[Person] = provider.send_message(request, output=Person, tags={"task": "t1"})
    async with stream:
        async for draft in stream.objects():
            draft.get("name")
    async for chunk in stream:
        of_a_chunk: MessageChunk = chunk
        partial: MessageResponse = stream.response
        if of_a_chunk.text and not partial.text:
            await stream.cancel()
    response: OutputResponse[Person] = await stream
    earlier: tuple[MessageResponse, ...] = response.responses
    people: list[Person] = (await provider.send_message(request, output=list[Person])).parsed
    yes: Literal["yes", "no"] = (await provider.send_message(request, output=Literal["yes", "no"])).parsed
    perhaps: Person | None = (await provider.send_message(request, output=Person | None)).parsed
    counts: dict[str, int] = (await provider.send_message(request, output=TypeAdapter(dict[str, int]))).parsed
    plain: dict[str, Any] = (await provider.send_message({"messages": []}, output={"type": "object"})).parsed
    try:
        person: Person = (await provider.send_message(request, output=Person)).parsed
    except OutputError as error:
        return f"{error.code} {error.context['problems']} {error.partial and error.partial.usage}"
    return f"{person.name} {people} {yes} {perhaps} {counts} {plain} {len(earlier)}"


def read_a_response(response: MessageResponse) -> tuple[str, Decimal | None, float | None]:
    usage: Usage = response.usage
    tokens: int = (usage.input_tokens or 0) + (usage.output_tokens or 0)
    calls: list[ToolCall] = response.tool_calls
    arguments: list[dict[str, Any] | None] = [call.input for call in calls]
    message: dict[str, Any] = response.to_message()
    cost: Cost = response.cost
    own: Cost = claudeprov.cost_of(usage, "sonnet", at=datetime(2026, 11, 1, tzinfo=UTC), message=message)
    total: Decimal | None = own.total_usd if tokens > len(arguments) else cost.total_usd
    return response.text, total, response.timing.first_chunk


async def handle_errors(provider: AnthropicClaudeProvider) -> MessageResponse | None:
    try:
        return await provider.send_message({"messages": []})
    except RateLimitError as error:
        wait: float | None = error.retry_after
        await asyncio.sleep(wait or 1)
    except StreamInterruptedError as error:
        return error.partial
    except ProviderError as error:
        code, context, request_id = error.code, error.context, error.request_id
        raise RuntimeError(f"{code} {context} {request_id}") from error
    return None


class CountingLayer:
    """A layer of a user's own."""

    def __init__(self, clock: Clock) -> None:
        self.ended: list[tuple[str, float]] = []
        self._clock = clock

    async def __call__(self, call: Call, call_next: Next, /) -> Stream:
        started = self._clock.monotonic()
        stream = await call_next(call)

        def end(outcome: Outcome) -> None:
            self.ended.append((outcome.kind, self._clock.monotonic() - started))

        def see(chunk: MessageChunk) -> None:
            call.tags["last"] = chunk.type

        stream.on_end(end)
        stream.tap("message_stop", see)
        return stream


def compose_a_chain(clock: Clock, provider: Next) -> Next:
    layers: Sequence[Middleware] = [CountingLayer(clock)]
    return chain(layers, provider)


async def use_the_platforms_contract(provider: AIProvider) -> tuple[bool, int, Mapping[str, RouteLimits]]:
    await provider.initialize()
    try:
        health: Health = await provider.health_check()
        count: TokenCount = await provider.count_tokens({"messages": []})
        known: list[str] = [model.id for model in await provider.list_models(live=True)]
        response: MessageResponse = await provider.send_message({"messages": [], "model": provider.get_model().id})
        return health.ok and response.model in known, count.input_tokens, provider.rate_limits()
    finally:
        await provider.dispose()


def is_a_provider() -> AIProvider:
    return claudeprov.open_provider(settings=compose(["model=haiku"]))


@claudeprov.tool
async def weather(city: str, unit: Literal["C", "F"] = "C") -> str:
    """Tell the weather of a city."""
    if city != "Oslo":
        raise ToolError("only Oslo is known")
    return f"4 {unit}"


@claudeprov.tool(effects=["write"], timeout=5, strict=True)
def forget(city: str) -> None:
    """Forget the weather of a city."""


async def permit(request: PermissionRequest) -> Literal["allow", "deny", "ask"]:
    return "ask" if "write" in request.effects else "allow"


async def ask(request: PermissionRequest) -> bool:
    return request.name == "forget"


async def with_tools(provider: AnthropicClaudeProvider) -> list[dict[str, Any]]:
    own: Sequence[Tool | Mapping[str, Any]] = [weather, forget, {"type": "web_search_20260318", "name": "web_search"}]
    stream: ToolStream = provider.run_tools({"messages": []}, own, max_rounds=5, permission=permit, ask=ask)
    async with stream:
        async for chunk in stream:
            assert chunk.type in ("tool_call", "tool_result") or chunk.text
    run: ToolRun = stream.run
    calls: tuple[ToolResult, ...] = run.calls
    total: Decimal | None = run.cost.total_usd
    assert (run.stopped, run.rounds, total) == ("end_turn", 2, None)
    assert sum(call.seconds for call in calls if call.outcome == "ok") < 1
    return [*(await provider.run_tools({"messages": list(run.messages)})).messages]
