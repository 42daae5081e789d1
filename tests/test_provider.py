"""The provider: what an application holds."""

import asyncio
import json
import threading
from decimal import Decimal

import httpx2
import pytest

import claudeprov
from claudeprov import AIProvider, AnthropicClaudeProvider, RequestAdaptedWarning, TokenCount
from claudeprov.errors import (
    AuthenticationError,
    CassetteMissError,
    ConfigurationError,
    ContextWindowExceededError,
    InvalidRequestError,
    InvalidResponseError,
    ModelNotFoundError,
    ServerError,
    StreamInterruptedError,
)
from claudeprov.testing import text_events

HI = {"messages": [{"role": "user", "content": "hi"}]}
BARE = ["cassette=live", "retry=off", "breaker=off", "telemetry=off"]

pytestmark = pytest.mark.usefixtures("no_credentials", "no_settings")


class Api(httpx2.AsyncBaseTransport):
    """Answers every request for a message with the same one, and others as told by path."""

    def __init__(self, model: str = "m", **answers: httpx2.Response | list[httpx2.Response]) -> None:
        self.requests: list[httpx2.Request] = []
        self.closed = False
        self._answers = answers
        self._events = text_events("Hello", model=model)

    @property
    def bodies(self) -> list[dict]:
        return [json.loads(request.content) for request in self.requests if request.content]

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(request)
        last = request.url.path.rpartition("/")[2]
        if last in self._answers:
            answer = self._answers[last]
            return answer.pop(0) if isinstance(answer, list) else answer
        body = "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in self._events)
        return httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=body)

    async def aclose(self) -> None:
        self.closed = True


def opened(api: Api, *overrides: str) -> AnthropicClaudeProvider:
    settings = claudeprov.open_provider([*BARE, *overrides]).settings
    return AnthropicClaudeProvider(settings, transport=api)


async def sent(*overrides: str, **request) -> dict:
    """The body that is sent for *request* under a configuration."""
    api = Api()
    async with opened(api, *overrides) as provider:
        await provider.send_message(HI | request)
    return api.bodies[0]


def test_it_is_what_the_platform_asks_of_a_provider():
    provider: AIProvider = opened(Api())
    assert all(hasattr(provider, name) for name in vars(AIProvider) if not name.startswith("_"))


class TestItsLife:
    async def test_its_use_is_iterating_awaiting_or_entering_a_message(self):
        async with opened(Api()) as provider:
            texts = [chunk.text async for chunk in provider.send_message(HI)]
            response = await provider.send_message(HI)
            async with provider.send_message(HI) as stream:
                pieces = [piece async for piece in stream.text()]
        assert "".join(texts) == response.text == "".join(pieces) == stream.response.text == "Hello"

    async def test_before_it_is_opened_it_says_so(self):
        provider = opened(Api())
        with pytest.raises(ConfigurationError, match="not open"):
            await provider.send_message(HI)
        with pytest.raises(ConfigurationError, match="not open"):
            await provider.count_tokens(HI)
        with pytest.raises(ConfigurationError, match="not open"):
            await provider.list_models(live=True)
        assert isinstance((await provider.health_check()).error, ConfigurationError)

    async def test_after_it_is_closed_it_says_so_and_its_connections_are(self):
        api = Api()
        async with opened(api) as provider:
            pass
        assert api.closed
        with pytest.raises(ConfigurationError, match="not open"):
            await provider.send_message(HI)

    async def test_opening_or_closing_it_twice_does_no_harm(self):
        provider = opened(Api())
        await provider.initialize()
        await provider.initialize()
        assert (await provider.send_message(HI)).text == "Hello"
        await provider.dispose()
        await provider.dispose()

    @pytest.mark.parametrize("turns", range(1, 6))
    async def test_closing_it_closes_all_even_if_it_is_cancelled_over_an_open_stream(self, turns):
        api = Api()
        provider = opened(api)
        await provider.initialize()
        streams = [provider.send_message(HI) for _ in range(2)]
        readers = [aiter(stream) for stream in streams]
        for reader in readers:
            await anext(reader)
        closing = asyncio.ensure_future(provider.dispose())
        for _ in range(turns):
            await asyncio.sleep(0)
        closing.cancel()
        await asyncio.wait([closing])
        assert api.closed
        assert [stream.outcome.kind for stream in streams] == ["cancelled"] * 2

    async def test_a_wrong_request_is_refused_before_it_is_used(self):
        with pytest.raises(InvalidRequestError, match="messages"):
            opened(Api()).send_message({})

    async def test_calls_at_once_do_not_mix(self):
        async with opened(Api()) as provider:
            responses = await asyncio.gather(*(provider.send_message(HI) for _ in range(200)))
        assert {response.text for response in responses} == {"Hello"}
        assert len({id(response.message) for response in responses}) == 200

    def test_threads_have_providers_of_their_own(self):
        texts = []

        async def ask() -> None:
            async with opened(Api()) as provider:
                texts.append((await provider.send_message(HI)).text)

        threads = [threading.Thread(target=asyncio.run, args=(ask(),)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert texts == ["Hello"] * 8


class TestWhatItSends:
    async def test_the_configuration_gives_model_and_max_tokens(self):
        assert await sent("model=claude-haiku-4-5", "max_tokens=77") == HI | {
            "model": "claude-haiku-4-5-20251001",
            "max_tokens": 77,
            "stream": True,
        }

    async def test_a_request_has_the_last_word(self):
        body = await sent("model=sonnet", "preflight=send", model="claude-opus-4-1", max_tokens=3, stream=False)
        assert (body["model"], body["max_tokens"], body["stream"]) == ("claude-opus-4-1", 3, False)

    async def test_thinking_and_sampling_are_sent_as_configured(self):
        assert (await sent("thinking=adaptive"))["thinking"] == {"type": "adaptive"}
        assert (await sent("thinking=high"))["output_config"] == {"effort": "high"}
        assert (await sent("sampling.temperature=0.5", "preflight=send"))["temperature"] == 0.5
        assert not {"thinking", "output_config", "temperature", "top_p", "top_k"} & (await sent()).keys()

    async def test_configured_effort_joins_the_output_config_of_a_request(self):
        output = {"format": {"type": "json_schema", "schema": {}}}
        assert (await sent("thinking=high", output_config=output))["output_config"] == {"effort": "high", **output}
        assert (await sent("thinking=high", output_config={"effort": "low"}))["output_config"] == {"effort": "low"}

    @pytest.mark.parametrize(
        ("asked", "overrides", "model"),
        [
            ("sonnet-3-5", [], "claude-3-5-sonnet-20241022"),
            ("claude-haiku-4-5", [], "claude-haiku-4-5"),
            ("claude-sonnet-9", [], "claude-sonnet-9"),
            ("claude-haiku-4-5", ["endpoint=bedrock"], "anthropic.claude-haiku-4-5"),
            ("claude-opus-4-5", ["endpoint=bedrock"], "anthropic.claude-opus-4-5-20251101-v1:0"),
            ("anthropic.claude-haiku-4-5-20251001-v1:0", [], "anthropic.claude-haiku-4-5-20251001-v1:0"),
            ("claude-haiku-4-5", ["endpoint=foundry"], "claude-haiku-4-5"),
            ("my-model", ["endpoint=compatible"], "my-model"),
        ],
    )
    async def test_a_model_goes_by_the_name_that_the_endpoint_knows(self, asked, overrides, model):
        assert (await sent("preflight=send", *overrides, model=asked))["model"] == model


class TestWhatItAnswers:
    async def test_a_count_of_tokens(self):
        api = Api(count_tokens=httpx2.Response(200, json={"input_tokens": 42}))
        async with opened(api, "thinking=adaptive", "sampling.temperature=0.5") as provider:
            request = HI | {"model": "claude-opus-4-1", "system": "be kind", "max_tokens": 9, "betas": ["b-1"]}
            assert await provider.count_tokens(request) == TokenCount(42, "endpoint", low=42, high=42)
        (asked,) = api.requests
        assert (asked.url.path, asked.url.query, asked.headers["anthropic-beta"]) == (
            "/v1/messages/count_tokens",
            b"beta=true",
            "b-1",
        )
        assert api.bodies == [HI | {"model": "claude-opus-4-1", "system": "be kind", "thinking": {"type": "adaptive"}}]

    @pytest.mark.parametrize("answer", [{}, {"input_tokens": None}, [], "42"])
    async def test_a_count_that_is_none_is_estimated(self, answer):
        async with opened(Api(count_tokens=httpx2.Response(200, json=answer))) as provider:
            assert (await provider.count_tokens(HI)).source == "estimate"

    async def test_a_request_that_was_counted_is_not_asked_for_again(self):
        api = Api(count_tokens=httpx2.Response(200, json={"input_tokens": 42}))
        async with opened(api) as provider:
            assert await provider.count_tokens(HI) == await provider.count_tokens(HI)
        assert len(api.requests) == 1

    async def test_past_the_limit_of_counting_it_is_an_estimate_with_its_band(self):
        error = {"type": "error", "error": {"type": "rate_limit_error", "message": "slow down"}}
        async with opened(Api(count_tokens=httpx2.Response(429, json=error))) as provider:
            count = await provider.count_tokens(HI)
        assert count.source == "estimate"
        assert count.low <= 8 <= count.high

    async def test_a_key_that_counts_nothing_is_an_error(self):
        error = {"type": "error", "error": {"type": "authentication_error", "message": "no"}}
        async with opened(Api(count_tokens=httpx2.Response(401, json=error))) as provider:
            with pytest.raises(AuthenticationError):
                await provider.count_tokens(HI)

    async def test_estimates_learn_from_the_calls_that_are_made(self):
        error = {"type": "error", "error": {"type": "api_error", "message": "no"}}
        async with opened(Api("claude-sonnet-5-5", count_tokens=httpx2.Response(500, json=error))) as provider:
            assert (await provider.count_tokens(HI)).source == "estimate"
            for _ in range(8):
                await provider.send_message(HI)
            learned = await provider.count_tokens(HI)
        assert (learned.source, learned.input_tokens) == ("learned", 1)  # which each answer says it used

    async def test_what_an_answer_cost_that_was_broken_off_lies_between_bounds(self):
        events = text_events("Hello", model="claude-sonnet-5-5")[:3]
        body = "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events)
        broken = httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=body)
        async with opened(Api(messages=broken)) as provider:
            with pytest.raises(StreamInterruptedError) as caught:
                await provider.send_message(HI | {"max_tokens": 100})
        cost = caught.value.partial.cost
        # 1 x 2 and something, up to 1 x 2 + 100 x 10
        assert cost.total_usd is None
        assert Decimal("0.000002") <= cost.low_usd < cost.high_usd == Decimal("0.001002")

    async def test_the_models_of_the_catalogue(self):
        models = await opened(Api()).list_models()
        assert {"claude-sonnet-5-5", "claude-3-opus-20240229"} <= {model.id for model in models}

    async def test_the_models_of_the_endpoint_of_all_pages_join_those_of_the_catalogue(self):
        pages = [
            {"data": [{"id": "claude-sonnet-5-5"}, {"id": "nobody"}], "has_more": True, "last_id": "nobody"},
            {"data": [{"id": "claude-opus-6"}], "has_more": False},
        ]
        api = Api(models=[httpx2.Response(200, json=page) for page in pages])
        async with opened(api) as provider:
            known = await provider.list_models()
            assert {model.id for model in await provider.list_models(live=True)} == {
                *(model.id for model in known),
                "nobody",
                "claude-opus-6",
            }
            assert await provider.list_models() == tuple(provider.catalog)
        states = [("lifecycle[]", state) for state in ("active", "deprecated", "retired")]
        assert [request.url.params.multi_items() for request in api.requests] == [
            [("limit", "1000"), *states],
            [("limit", "1000"), *states, ("after_id", "nobody")],
        ]

    async def test_a_model_released_tomorrow_works_once_it_is_listed_and_its_price_is_unknown(self):
        entry = {
            "id": "claude-opus-6",
            "display_name": "Claude Opus 6",
            "created_at": "2026-12-24T00:00:00Z",
            "lifecycle": "active",
            "max_input_tokens": 2_000_000,
            "max_tokens": 256_000,
        }
        api = Api("claude-opus-6", models=httpx2.Response(200, json={"data": [entry]}))
        async with opened(api, "model=opus", "preflight=adapt", "caching=auto") as provider:
            with pytest.raises(ConfigurationError, match="list_models"):
                provider.get_model("claude-opus-6")
            await provider.list_models(live=True)
            found = provider.get_model("claude-opus-6")
            assert (found.display_name, found.context_window, found.max_output_tokens) == (
                "Claude Opus 6",
                2_000_000,
                256_000,
            )
            assert str(found.lifecycle.released) == "2026-12-24"
            assert provider.capabilities("claude-opus-6").prefill is None
            response = await provider.send_message(HI | {"model": "claude-opus-6"})
        assert api.bodies[-1]["model"] == "claude-opus-6"
        assert response.cost.total_usd is None
        assert response.cost.reason == "claude-opus-6, input: not in the catalogue"

    async def test_a_prompt_that_no_window_holds_is_not_sent(self):
        api = Api()
        async with AnthropicClaudeProvider(claudeprov.open_provider(["cassette=live"]).settings, transport=api) as it:
            with pytest.raises(ContextWindowExceededError, match="at least 2376002 tokens"):
                await it.send_message({"messages": [{"role": "user", "content": "hello " * 1_200_000}]})
        assert api.bodies == []

    async def test_a_newer_model_can_be_configured_with_all_that_its_user_knows_of_it(self):
        api = Api("claude-opus-6")
        known = ["model=custom", "model.id=claude-opus-6", "model.max_output_tokens=9000", "pricing.input=1000000"]
        async with opened(api, *known, "pricing.output=0") as provider:
            assert (await provider.send_message(HI)).cost.total_usd == 1
            with pytest.raises(InvalidRequestError, match="max_tokens=9001: at most 9000"):
                await provider.send_message(HI | {"max_tokens": 9001})
        assert api.bodies[0]["model"] == "claude-opus-6"

    async def test_what_the_endpoint_says_of_a_known_model_wins_and_is_acted_on(self):
        entry = {
            "id": "claude-haiku-5-5",
            "lifecycle": "retired",
            "deprecated_at": "2026-11-01T00:00:00Z",
            "retires_at": "2026-11-20T00:00:00Z",
        }
        async with opened(Api(models=httpx2.Response(200, json={"data": [entry]})), "model=haiku") as provider:
            await provider.send_message(HI)
            await provider.list_models(live=True)
            assert provider.get_model().lifecycle.status == "retired"
            assert provider.catalog.told(provider.get_model()) == ("lifecycle",)
            with pytest.raises(ModelNotFoundError, match="retired since 2026-11-20"):
                await provider.send_message(HI)

    @pytest.mark.parametrize("page", [{}, {"data": 5}, {"data": ["claude-sonnet-5-5"]}, [], {"data": [{"id": 5}]}])
    async def test_models_that_are_none(self, page):
        async with opened(Api(models=httpx2.Response(200, json=page))) as provider:
            with pytest.raises(InvalidResponseError):
                await provider.list_models(live=True)

    async def test_pages_without_end_end(self):
        page = {"data": [{"id": "claude-sonnet-5-5"}], "has_more": True, "last_id": "x"}
        async with opened(Api(models=httpx2.Response(200, json=page))) as provider:
            with pytest.raises(InvalidResponseError):
                await provider.list_models(live=True)

    async def test_a_model_and_what_it_can_do(self):
        provider = opened(Api(), "model=sonnet")
        assert provider.get_model() is provider.settings.model
        assert opened(Api(), "model.max_output_tokens=7").get_model("sonnet").max_output_tokens == 7
        assert provider.get_model("claude-haiku-4-5").id == "claude-haiku-4-5-20251001"
        assert provider.capabilities("sonnet-3-5") == provider.get_model("sonnet-3-5").capabilities
        with pytest.raises(ConfigurationError, match="claude-sonnet-4-5"):
            provider.get_model("claude-sonet-4-5")

    async def test_its_health(self):
        async with opened(Api(models=httpx2.Response(200, json={"data": []}))) as provider:
            health = await provider.health_check()
        assert (health.ok, health.error) == (True, None)
        assert health.seconds >= 0
        async with opened(Api(models=httpx2.Response(503))) as provider:
            health = await provider.health_check()
        assert (health.ok, type(health.error)) == (False, ServerError)

    @pytest.mark.parametrize("platform", ["bedrock", "vertex", "foundry"])
    async def test_its_health_on_a_platform_that_lists_no_models(self, platform):
        count = httpx2.Response(200, json={"input_tokens": 1})
        api = Api(count_tokens=count, **{"count-tokens:rawPredict": count})
        async with opened(api, f"endpoint={platform}") as provider:
            assert (await provider.health_check()).ok

    async def test_limits_are_a_copy(self):
        async with opened(Api()) as provider:
            provider.rate_limits()["x"] = "y"
            assert provider.rate_limits() == {}

    async def test_a_model_that_is_gone(self):
        error = {"type": "error", "error": {"type": "not_found_error", "message": "model: claude-2.0"}}
        async with opened(Api(messages=httpx2.Response(404, json=error))) as provider:
            with pytest.raises(ModelNotFoundError, match=r"model: claude-2\.0"):
                await provider.send_message(HI)


class TestCost:
    async def cost(self, served: str, *overrides: str):
        async with opened(Api(served), *overrides) as provider:
            return (await provider.send_message(HI)).cost.total_usd

    async def test_a_message_costs_what_the_model_that_served_it_costs(self):
        assert await self.cost("claude-haiku-4-5-20251001", "model=sonnet") == Decimal("0.000006")

    async def test_configured_prices_count(self):
        overrides = ["model=claude-haiku-4-5", "pricing.input=1000000"]
        assert await self.cost("claude-haiku-4-5-20251001", *overrides) == Decimal("1.000005")

    async def test_configured_prices_count_for_a_model_that_is_configured_otherwise_too(self):
        overrides = ["model=claude-haiku-4-5", "model.max_output_tokens=5000", "pricing.input=1000000"]
        assert await self.cost("claude-haiku-4-5-20251001", *overrides) == Decimal("1.000005")

    async def test_the_price_of_a_local_model_is_unknown(self):
        assert await self.cost("qwen", "model=qwen") is None


class TestModes:
    def cassettes(self, tmp_path) -> str:
        body = {"model": "claude-haiku-4-5-20251001", "max_tokens": 4096, **HI}
        request = {
            "method": "POST",
            "uri": "https://api.anthropic.com/v1/messages",
            "headers": {},
            "body": json.dumps(body),
        }
        message = {"type": "message", "content": [{"type": "text", "text": "Recorded"}], "stop_reason": "end_turn"}
        answer = {"string": json.dumps(message)}
        response = {"status": {"code": 200}, "headers": {"content-type": ["application/json"]}, "body": answer}
        (tmp_path / "one.yaml").write_text(json.dumps({"interactions": [{"request": request, "response": response}]}))
        return f"cassette.path={tmp_path}"

    async def test_without_credentials_recordings_are_replayed(self, tmp_path):
        async with claudeprov.open_provider(["model=claude-haiku-4-5", self.cassettes(tmp_path)]) as provider:
            assert provider.mode == "replay"
            assert (await provider.send_message(HI | {"stream": False})).text == "Recorded"

    async def test_what_is_not_recorded_then_wants_credentials(self, tmp_path):
        async with claudeprov.open_provider([self.cassettes(tmp_path)]) as provider:
            with pytest.raises(AuthenticationError, match="no credentials for endpoint=anthropic") as caught:
                await provider.send_message(HI)
        assert isinstance(caught.value.__cause__, CassetteMissError)

    async def test_without_credentials_and_recordings_it_does_not_open(self, tmp_path):
        provider = claudeprov.open_provider([f"cassette.path={tmp_path}"])
        with pytest.raises(AuthenticationError, match=r"no credentials for endpoint=anthropic.*no cassette"):
            await provider.initialize()

    async def test_what_was_adapted_and_marked_for_the_cache_when_it_was_recorded_is_replayed(self, tmp_path):
        overrides = [
            "model=sonnet",
            "preflight=adapt",
            "caching=auto",
            "sampling.top_k=5",
            f"cassette.path={tmp_path}/a.yaml",
        ]
        request = {"messages": [{"role": "user", "content": "It was a dark and stormy night. " * 500}]}
        api = Api("claude-sonnet-5-5")
        with pytest.warns(RequestAdaptedWarning, match="top_k"):
            async with opened(api, *overrides, "cassette=record") as provider:
                await provider.send_message(request)
        (body,) = api.bodies
        assert "top_k" not in body
        assert body["messages"][0]["content"][0]["cache_control"] == {"type": "ephemeral"}
        async with claudeprov.open_provider([*overrides, "cassette=replay"]) as provider:
            assert (await provider.send_message(request)).text == "Hello"

    async def test_a_replay_refuses_nothing(self, tmp_path):
        overrides = ["model=claude-3-opus-20240229", f"cassette.path={tmp_path}/a.yaml", "sampling.top_k=5"]
        async with opened(Api(), *overrides, "cassette=record", "preflight=send") as provider:
            await provider.send_message(HI)
        async with claudeprov.open_provider([*overrides, "cassette=replay"]) as provider:
            assert (await provider.send_message(HI)).text == "Hello"

    async def test_where_a_replay_was_asked_for_it_is_a_miss(self, tmp_path):
        async with claudeprov.open_provider(["cassette=replay", self.cassettes(tmp_path)]) as provider:
            with pytest.raises(CassetteMissError):
                await provider.send_message(HI)

    def test_with_credentials_calls_are_live(self, monkeypatch):
        monkeypatch.setenv("ANTHROPIC_API_KEY", "made-up")
        assert claudeprov.open_provider([]).mode == "live"

    @pytest.mark.parametrize("mode", ["live", "replay", "record"])
    def test_a_mode_that_was_chosen_is_the_mode(self, mode):
        assert claudeprov.open_provider([f"cassette={mode}"]).mode == mode
