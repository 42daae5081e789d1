"""Estimates of a request's tokens, and what an estimator learns."""

import base64
import importlib.machinery
import importlib.util
import os
import struct
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from claudeprov.catalog import catalog
from claudeprov.request import MessageRequest
from claudeprov.response import Usage
from claudeprov.tokens import Estimator, Tally

ROOT = Path(__file__).parents[1]
CORPUS = Path(os.environ.get("CORPUS_DIR") or ROOT.parent / "shared" / "corpus")

SONNET, OLD = catalog().find("claude-sonnet-5-5"), catalog().find("claude-haiku-4-5")
WEATHER = {
    "name": "weather",
    "description": "Tells the weather",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
}


def asked(*content, **more):
    """A request of one user message, or of several in turns."""
    turns = [{"role": ("user", "assistant")[turn % 2], "content": each} for turn, each in enumerate(content)]
    return MessageRequest.of({"messages": turns, "model": "m", "max_tokens": 9, **more})


def tokens(request, model=OLD):
    return Estimator().estimate(request, model).input_tokens


def test_a_short_message_is_its_text_and_seven_on_the_old_tokenizer():
    assert tokens(asked("hello, world")) == 3 + 7


def test_the_generations_count_by_their_own_vocabularies():
    text = "Internationalization considerations notwithstanding. " * 20
    assert tokens(asked(text), SONNET) > 1.2 * tokens(asked(text), OLD)


def test_turns_and_the_system_prompt_are_counted():
    assert tokens(asked("hello", "world", "hello", system="world")) == 4 * 1 + 7 + 2 * 3
    assert tokens(asked("hello", system=[{"type": "text", "text": "world"}])) == 2 + 7


def test_messages_of_one_role_are_one_turn():
    messages = [{"role": "user", "content": "hello"}, {"role": "user", "content": "world"}]
    assert tokens(asked(messages=messages)) == 2 + 7


def test_tools_bring_their_schema_and_their_model_s_prompt():
    # 496 for Haiku 4.5, 588 where a tool is forced; the schema is 38 tokens
    plain = tokens(asked("hello"))
    assert 496 + 30 < tokens(asked("hello", tools=[WEATHER])) - plain < 496 + 60
    forced = asked("hello", tools=[WEATHER], tool_choice={"type": "any"})
    assert 588 + 30 < tokens(forced) - plain < 588 + 60


def test_a_tool_that_is_loaded_later_is_perhaps_in_the_prompt():
    count = Estimator().estimate(asked("hello", tools=[WEATHER | {"defer_loading": True}]), OLD)
    assert count.input_tokens == 1 + 7 + 496
    assert count.high > count.input_tokens + 50


def test_calls_of_tools_and_their_results_are_counted():
    use = {"type": "tool_use", "id": "t", "name": "weather", "input": {"city": "Lisbon", "days": 3}}
    result = {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "sunny " * 100}]}
    count = tokens(asked("hello", [use], [result], tools=[WEATHER]))
    assert count > tokens(asked("hello", tools=[WEATHER])) + 100


def test_images_are_counted_by_their_pixels():
    png = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + struct.pack(">II", 640, 480)
    block = {"type": "image", "source": {"type": "base64", "data": base64.b64encode(png).decode()}}
    assert tokens(asked([block])) == 7 + 414 + 3


@pytest.mark.parametrize(
    "block",
    [
        {"type": "image", "source": {"type": "url", "url": "https://example.org/a.png"}},
        {"type": "document", "source": {"type": "url", "url": "https://example.org/a.pdf"}},
        {"type": "thinking", "thinking": "hm " * 100, "signature": "Eq" * 100},
        {"type": "redacted_thinking", "data": "Eq" * 100},
        {"type": "web_search_tool_result", "tool_use_id": "t", "content": []},
        {"type": "invented_tomorrow", "what": "x" * 100},
    ],
    ids=lambda block: block["type"],
)
def test_what_is_not_known_widens_the_band_and_teaches_nothing(block):
    estimator = Estimator()
    count = estimator.estimate(asked([block]), OLD)
    assert count.high - count.low > 50
    for _ in range(20):
        estimator.learn(asked([block]), OLD, Usage({"input_tokens": 1}))
    assert estimator.estimate(asked([block]), OLD) == count


def test_documents_of_text_are_read():
    text = {"type": "text", "media_type": "text/plain", "data": "word " * 200}
    found = {
        "type": "search_result",
        "source": "here",
        "title": "a",
        "content": [{"type": "text", "text": "word " * 200}],
    }
    parts = {"type": "content", "content": [{"type": "text", "text": "word " * 200}]}
    for block in ({"type": "document", "source": text}, {"type": "document", "source": parts}, found):
        assert 200 < tokens(asked([block])) < 270
    cited = {"type": "document", "source": text, "title": "a", "citations": {"enabled": True}}
    assert 700 < tokens(asked([cited])) < 800


def test_a_compaction_stands_for_all_before_it():
    block = {"type": "compaction", "content": "hello"}
    assert tokens(asked("word " * 1000, [block], "world")) == 2 + 7 + 3


def test_schemas_of_outputs_and_thinking_have_a_prompt_of_their_own():
    schema = {"type": "object", "properties": {"name": {"type": "string"}}}
    with_schema = asked("hello", output_config={"format": {"type": "json_schema", "schema": schema}})
    assert 100 < tokens(with_schema) - tokens(asked("hello")) < 150
    assert tokens(asked("hello", thinking={"type": "enabled", "budget_tokens": 2000})) == 1 + 7 + 29
    assert tokens(asked("hello", thinking={"type": "adaptive"}), catalog().find("claude-opus-4-6")) == 1 + 7 + 17


def test_servers_and_tools_of_the_service_widen_the_band():
    for more in ({"tools": [{"type": "web_search_20260318", "name": "web_search"}]}, {"mcp_servers": [{"name": "a"}]}):
        count = Estimator().estimate(asked("hello", **more), OLD)
        assert count.high - count.input_tokens > 1_000


@pytest.mark.parametrize(
    "request_",
    [
        {"messages": [{}]},
        {"messages": [{"role": "user"}]},
        {"messages": [{"role": "user", "content": ["text", 5, None, {}]}]},
        {"messages": [{"role": "user", "content": [{"type": "tool_use", "input": 5, "name": None}]}]},
        {"messages": [{"role": "user", "content": [{"type": "image"}, {"type": "document", "source": "x"}]}]},
        {"messages": [], "tools": "none", "system": 5, "output_config": [], "thinking": "yes", "tool_choice": 3},
        {"messages": [], "tools": [None, {}], "mcp_servers": {"a": 1}},
    ],
)
def test_what_is_not_of_the_api_s_shape_is_no_error(request_):
    assert Estimator().estimate(MessageRequest.of(request_), SONNET).input_tokens >= 0


def test_what_is_not_known_is_no_more_than_fits_the_window_and_what_is_known_is_counted_in_full():
    url = {"type": "document", "source": {"type": "url", "url": "https://example.org/a.pdf"}}
    assert Estimator().estimate(asked([url]), OLD).high == OLD.context_window == 200_000
    almost, over = (Estimator().estimate(asked("word " * number), OLD) for number in (199_900, 300_000))
    assert almost.low < almost.input_tokens < almost.high == 200_000
    assert 200_000 < over.low < 300_000 < over.input_tokens == over.high


def test_an_unknown_model_is_counted_by_the_newest_vocabulary_within_a_wide_band():
    request = asked("hello " * 1_000)
    known, unknown = (Estimator().estimate(request, model) for model in (SONNET, None))
    assert unknown.input_tokens == known.input_tokens
    assert unknown.low < 0.6 * known.low
    assert unknown.high > 1.4 * known.high


def test_eight_answers_teach_what_a_model_has_around_its_requests():
    estimator = Estimator()
    requests = [asked("hello " * number) for number in range(1, 9)]
    for request in requests[:7]:
        estimator.learn(request, OLD, Usage({"input_tokens": tokens(request) - 30, "cache_read_input_tokens": 70}))
    assert estimator.estimate(requests[0], OLD).source == "estimate"
    estimator.learn(requests[7], OLD, Usage({"input_tokens": tokens(requests[7]) + 40}))
    long = asked("hello " * 5_000)
    learned = estimator.estimate(long, OLD)
    assert (learned.source, learned.input_tokens) == ("learned", tokens(long) + 40)
    assert learned.low < learned.input_tokens < learned.high < learned.input_tokens * 1.03
    # other models, and the same with tools, are another matter
    assert estimator.estimate(long, SONNET).source == "estimate"
    assert estimator.estimate(asked("hello", tools=[WEATHER]), OLD).source == "estimate"


def test_one_odd_answer_teaches_nothing_wrong():
    estimator = Estimator()
    for number in range(1, 20):
        request = asked("hello " * number)
        estimator.learn(request, OLD, Usage({"input_tokens": 90_000 if number == 9 else tokens(request) + 40}))
    assert estimator.estimate(asked("hello"), OLD).input_tokens == tokens(asked("hello")) + 40


def test_of_a_model_with_a_tokenizer_of_its_own_the_ratio_is_learned():
    estimator, local = Estimator(), catalog().find("qwen")
    for number in range(10, 20):
        request = asked("hello " * number * 10)
        estimator.learn(request, local, Usage({"input_tokens": round(tokens(request, local) * 0.8)}))
    long = asked("hello " * 1_000)
    learned = estimator.estimate(long, local)
    assert learned.source == "learned"
    assert learned.input_tokens == pytest.approx(tokens(long, local) * 0.8, rel=0.01)
    assert learned.low < learned.input_tokens < learned.high


def test_what_tells_no_count_teaches_nothing_and_old_lessons_make_room():
    estimator = Estimator()
    for number in range(1_000):
        request = asked("hello", model=f"m{number}")
        estimator.learn(request, None, Usage({}))
        estimator.learn(request, None, Usage({"input_tokens": 9}))
    assert len(estimator._lessons) == 256


def test_a_text_alone_has_nothing_around_it():
    assert Estimator().text("hello, world", OLD).input_tokens == 3
    assert Estimator().text("", OLD).high == 0


PARTS = st.one_of(
    st.text(max_size=50),
    st.lists(st.builds(lambda text: {"type": "text", "text": text}, st.text(max_size=50)), max_size=3),
)


@settings(derandomize=True, deadline=None, max_examples=100)
@given(st.lists(PARTS, min_size=1, max_size=4), st.sampled_from([OLD, SONNET, None]))
def test_the_estimate_lies_in_its_band_and_grows_with_the_request(contents, model):
    count = Estimator().estimate(asked(*contents), model)
    assert 0 <= count.low <= count.input_tokens <= count.high
    assert tokens(asked(*contents, "one more"), model) > count.input_tokens


def test_a_tally_names_what_it_found():
    tally = Tally(asked("hello", tools=[WEATHER], tool_choice={"type": "tool", "name": "weather"}).body(), OLD)
    assert {part: number for part, number in tally.parts.items() if number} == {"request": 1, "tool": 1, "named": 1}


@pytest.mark.skipif(
    not (CORPUS / "INDEX.jsonl").is_file() and os.environ.get("CORPUS_REQUIRED") != "1",
    reason=f"there are no recorded sessions in {CORPUS}",
)
def test_the_error_on_recorded_calls_is_what_it_was_when_it_was_measured(monkeypatch, capsys):
    monkeypatch.setenv("CORPUS_DIR", str(CORPUS))
    assert script("fit_tokens").main() == 0
    shown = capsys.readouterr().out
    mean = float(shown.partition("mean error ")[2].partition("mean error ")[2].partition("%")[0])
    assert mean < 1


def script(name):
    """A script of tools, as a module."""
    loader = importlib.machinery.SourceFileLoader(name, str(ROOT / "tools" / name))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(name, loader))
    sys.modules[name] = module
    loader.exec_module(module)
    return module
