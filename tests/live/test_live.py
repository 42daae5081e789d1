"""The integration with the real API, for a fraction of a cent; ``tools/live`` runs it, and nothing else does.

``$LIVE_OVERRIDES``, one a line, may name another endpoint: a server on this machine serves for all but what is skipped.
"""

import os

import pytest

import claudeprov

pytestmark = pytest.mark.live

OVERRIDES = ["model=haiku", "cassette=live", "max_tokens=20", *os.environ.get("LIVE_OVERRIDES", "").splitlines()]
QUESTION = {"messages": [{"role": "user", "content": "Name the four seasons."}]}


@pytest.fixture(autouse=True, scope="module")
def leave():
    """Money is spent only where somebody has asked for it."""
    if os.environ.get("CI") and os.environ.get("LIVE_IN_CI") != "1":
        pytest.exit("the live tests do not run in CI, unless LIVE_IN_CI=1 says so", returncode=2)
    if not os.environ.get("ANTHROPIC_API_KEY"):
        pytest.exit("the live tests need test credentials in ANTHROPIC_API_KEY", returncode=3)


@pytest.fixture
async def provider():
    async with claudeprov.open_provider(OVERRIDES) as provider:
        yield provider


@pytest.fixture
def anthropic_only(provider):
    """For what a server that merely speaks the API need not do."""
    if provider.settings.endpoint.kind == "compatible":
        pytest.skip("only Anthropic's own service is sure to do this")


async def test_a_stream_arrives_in_pieces_and_adds_up(provider):
    stream = provider.send_message(QUESTION)
    pieces = [chunk.text async for chunk in stream if chunk.text]
    response = stream.response
    assert len(pieces) > 1
    assert response.text == "".join(pieces)
    assert response.stop_reason in ("end_turn", "max_tokens")
    assert response.usage.input_tokens > 0
    assert 0 < response.usage.output_tokens <= 20
    assert 0 < response.timing.first_chunk < response.timing.total


async def test_a_plain_exchange_gives_the_same_kind_of_response(provider):
    response = await provider.send_message({**QUESTION, "stream": False})
    assert response.text
    assert response.to_message()["role"] == "assistant"
    assert response.usage.output_tokens > 0


async def test_the_count_of_tokens_is_what_the_answer_reports(provider):
    count = await provider.count_tokens(QUESTION)
    response = await provider.send_message({**QUESTION, "max_tokens": 1})
    assert count.input_tokens == pytest.approx(response.usage.input_tokens, abs=10)  # the count is an estimate


@pytest.mark.usefixtures("anthropic_only")
async def test_an_answer_has_a_request_id_and_a_price(provider):
    response = await provider.send_message({**QUESTION, "max_tokens": 1})
    assert response.request_id.startswith("req_")
    assert response.cost.total_usd > 0
    assert provider.rate_limits()


@pytest.mark.usefixtures("anthropic_only")
async def test_the_service_lists_the_configured_model(provider):
    assert provider.get_model() in await provider.list_models(live=True)


@pytest.mark.usefixtures("anthropic_only")
async def test_a_model_that_is_not_there_is_told_as_such(provider):
    with pytest.raises(claudeprov.ModelNotFoundError, match="claude-nonesuch"):
        await provider.send_message({**QUESTION, "model": "claude-nonesuch"})


@pytest.mark.usefixtures("anthropic_only")
async def test_a_wrong_key_is_refused_and_not_repeated(monkeypatch):
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-api03-wrong")
    async with claudeprov.open_provider(OVERRIDES) as provider:
        with pytest.raises(claudeprov.AuthenticationError) as refusal:
            await provider.send_message(QUESTION)
    assert "sk-ant" not in str(refusal.value)
