"""What models are known to refuse, and what is sent instead."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import anthropic._constants
import pytest

from claudeprov.catalog import catalog, unknown_model
from claudeprov.compose import compose
from claudeprov.preflight import API_VERSION, RULES, adapted, faults
from claudeprov.provider import AnthropicClaudeProvider
from claudeprov.request import MessageRequest
from claudeprov.tokens import Estimator, TokenCount

HI = [{"role": "user", "content": "Hi"}]
LONG = [{"role": "user", "content": "Hi " * 100_000}]
"""Long enough for its tokens to be counted."""
BEGUN = [*HI, {"role": "assistant", "content": "The answer is"}]
TOOL = {"name": "f", "input_schema": {"type": "object"}, "strict": True}
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": ""}}
PDF = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": ""}}
ENABLED = {"type": "enabled", "budget_tokens": 2000}
FAST = "fast-mode-2026-02-01"
FORMAT = {"type": "json_schema", "schema": {}}

pytestmark = pytest.mark.usefixtures("no_credentials", "no_settings")


def request(**fields):
    return MessageRequest.model_validate({"messages": HI, "max_tokens": 4096} | fields)


def counting(low, high=None):
    return lambda request, model: TokenCount(low, "estimate", low, high or low)


FEW = counting(10)


def rules(name, estimate=FEW, *, api_version=API_VERSION, **fields):
    return [fault.rule for fault in faults(request(**fields), catalog().find(name), estimate, api_version=api_version)]


def text(name, estimate=FEW, **fields):
    (fault,) = faults(request(**fields), catalog().find(name), estimate)
    return fault.text


def sent(name, estimate=FEW, **fields):
    """The body that is sent to a model in place of one that it refuses; it has nothing against it any more."""
    model = catalog().find(name)
    assert faults(request(**fields), model, estimate)
    changed, lost = adapted(request(**fields), model, estimate)
    assert lost
    assert faults(changed, model, estimate) == []
    return changed.body()


def asking(content):
    return [{"role": "user", "content": content}]


def test_a_plain_request_is_refused_by_no_model():
    for model in catalog():
        assert faults(request(), model, FEW) == []


class TestSampling:
    def test_the_api_version_is_the_one_that_the_sdk_asks_for(self):
        assert anthropic._constants.ANTHROPIC_API_VERSION == API_VERSION

    @pytest.mark.parametrize("parameter", ["temperature", "top_p", "top_k"])
    @pytest.mark.parametrize("model", ["sonnet", "claude-sonnet-4-6", "claude-3-opus-20240229"])
    def test_parameters_are_refused_under_the_version_of_today_and_left_out(self, model, parameter):
        assert rules(model, **{parameter: 1}) == ["sampling"]
        assert parameter not in sent(model, **{parameter: 1})

    def test_who_takes_none_is_said(self):
        assert (
            text("sonnet", top_p=0.5, top_k=3) == "top_p, top_k: the model takes no sampling parameters; leave them out"
        )
        assert text("claude-sonnet-4-6", temperature=0).startswith("temperature: API version 2026-10-21 takes no")

    def test_under_the_version_before_models_up_to_4_6_take_them(self):
        assert rules("claude-sonnet-4-6", api_version="2023-06-01", temperature=0.5) == []
        assert rules("claude-opus-4-7", api_version="2023-06-01", temperature=0.5) == ["sampling"]


class TestThinking:
    @pytest.mark.parametrize(
        ("model", "thinking", "instead"),
        [
            ("claude-opus-4-8", ENABLED, {"type": "adaptive"}),
            ("claude-opus-4-8", ENABLED | {"display": "summarized"}, {"type": "adaptive", "display": "summarized"}),
            ("claude-haiku-4-5", {"type": "adaptive"}, {"type": "enabled", "budget_tokens": 2048}),
            ("claude-fable-5-2", {"type": "disabled"}, None),
            ("claude-opus-5-5", {"type": "disabled"}, None),
            ("claude-sonnet-5-5", {"type": "disabled"}, {"type": "between_tools"}),
            ("claude-opus-5", {"type": "between_tools"}, {"type": "disabled"}),
            ("claude-opus-5-5", {"type": "between_tools"}, None),
            ("claude-3-5-haiku-20241022", {"type": "adaptive"}, None),
        ],
    )
    def test_a_kind_that_the_model_does_not_take_becomes_the_nearest_or_none(self, model, thinking, instead):
        assert rules(model, thinking=thinking) == ["thinking"]
        assert sent(model, thinking=thinking).get("thinking") == instead

    def test_a_kind_is_refused_with_those_that_there_are(self):
        assert text("claude-opus-4-8", thinking=ENABLED) == "thinking.type=enabled: only adaptive, disabled"
        assert text("claude-3-opus-20240229", thinking=ENABLED).endswith("the model does not think; leave it out")

    def test_an_answer_too_short_to_think_for_gets_no_thinking(self):
        assert "thinking" not in sent("claude-haiku-4-5", thinking={"type": "adaptive"}, max_tokens=1024)

    @pytest.mark.parametrize("budget", [4096, 9000, 100])
    def test_a_budget_that_does_not_fit_max_tokens_is_halved_to_do_so(self, budget):
        thinking = {"type": "enabled", "budget_tokens": budget}
        assert rules("claude-haiku-4-5", thinking=thinking) == ["budget_tokens"]
        assert sent("claude-haiku-4-5", thinking=thinking)["thinking"]["budget_tokens"] == 2048
        assert "thinking" not in sent("claude-haiku-4-5", thinking=thinking, max_tokens=1000)

    def test_a_budget_for_a_whole_turn_with_tools_may_be_more_than_max_tokens(self):
        thinking = {"type": "enabled", "budget_tokens": 9000}
        assert rules("claude-haiku-4-5", thinking=thinking, betas=["interleaved-thinking-2025-05-14"]) == []

    @pytest.mark.parametrize(
        ("model", "kind", "effort", "instead"),
        [
            ("claude-opus-5", "disabled", "xhigh", "high"),
            ("claude-haiku-5-5", "disabled", "max", "high"),
            ("claude-sonnet-5-5", "between_tools", "max", "high"),
        ],
    )
    def test_thinking_can_be_off_only_up_to_an_effort(self, model, kind, effort, instead):
        fields = {"thinking": {"type": kind}, "output_config": {"effort": effort, "format": FORMAT}}
        assert text(model, **fields) == f"thinking.type={kind}: only up to effort high, not at {effort}"
        assert sent(model, **fields)["output_config"] == {"effort": instead, "format": FORMAT}
        assert rules(model, thinking={"type": kind}) == []

    def test_thinking_that_ends_up_off_lowers_the_effort_too(self):
        body = sent("sonnet", thinking={"type": "disabled"}, output_config={"effort": "max"})
        assert (body["thinking"], body["output_config"]) == ({"type": "between_tools"}, {"effort": "high"})


class TestEffort:
    @pytest.mark.parametrize(
        ("model", "effort", "instead"),
        [
            ("claude-sonnet-4-6", "xhigh", {"effort": "high"}),
            ("claude-opus-4-5", "max", {"effort": "high"}),
            ("claude-opus-4-5", "utmost", {"effort": "high"}),
            ("claude-haiku-4-5", "low", None),
        ],
    )
    def test_a_level_that_the_model_lacks_becomes_the_one_below_or_none(self, model, effort, instead):
        assert rules(model, output_config={"effort": effort}) == ["effort"]
        assert sent(model, output_config={"effort": effort}).get("output_config") == instead

    def test_a_level_is_refused_with_those_that_there_are(self):
        assert text("claude-opus-4-5", output_config={"effort": "max"}).endswith("only low, medium, high")


class TestPrefill:
    def test_a_begun_answer_is_refused_from_4_6_on_and_asked_to_be_gone_on_with(self):
        assert rules("claude-sonnet-4-6", messages=BEGUN) == ["prefill"]
        assert rules("claude-haiku-4-5", messages=BEGUN) == []
        messages = sent("sonnet", messages=BEGUN)["messages"]
        assert messages[:2] == BEGUN
        assert messages[2]["role"] == "user"

    def test_no_model_takes_one_while_it_thinks_with_a_budget(self):
        assert rules("claude-haiku-4-5", messages=BEGUN, thinking=ENABLED) == ["prefill"]

    def test_a_turn_that_a_server_tool_paused_is_none(self):
        paused = [*HI, {"role": "assistant", "content": [{"type": "server_tool_use", "id": "s", "name": "web_search"}]}]
        assert rules("sonnet", messages=paused) == []


class TestTools:
    @pytest.mark.parametrize("model", ["claude-fable-5-2", "claude-mythos-5-1", "claude-opus-5-5", "claude-sonnet-5-5"])
    @pytest.mark.parametrize("choice", [{"type": "any"}, {"type": "tool", "name": "f"}])
    def test_a_forced_choice_is_refused_by_the_newest_and_set_free(self, model, choice):
        fields = {"tools": [TOOL], "tool_choice": choice | {"disable_parallel_tool_use": True}}
        assert text(model, **fields) == f"tool_choice.type={choice['type']}: only auto and none"
        assert sent(model, **fields)["tool_choice"] == {"type": "auto", "disable_parallel_tool_use": True}

    def test_a_forced_choice_does_not_go_with_a_budget_to_think_with(self):
        fields = {"tools": [TOOL], "tool_choice": {"type": "any"}, "thinking": ENABLED}
        assert rules("claude-haiku-4-5", **fields) == ["tool_choice_while_thinking"]
        assert "thinking" not in sent("claude-haiku-4-5", **fields)
        assert sent("claude-sonnet-4-6", **fields)["thinking"] == {"type": "adaptive"}
        assert rules("claude-sonnet-4-6", **fields | {"thinking": {"type": "adaptive"}}) == []

    def test_strict_tools_and_formats_are_refused_before_4_1(self):
        assert rules("claude-sonnet-4-0", tools=[TOOL], output_config={"format": FORMAT}) == [
            "output_format",
            "strict_tools",
        ]
        assert rules("claude-opus-4-1", tools=[TOOL], output_config={"format": FORMAT}) == []
        assert sent("claude-sonnet-4-0", tools=[TOOL])["tools"] == [{"name": "f", "input_schema": {"type": "object"}}]

    def test_a_format_cannot_be_adapted(self):
        asked = request(output_config={"format": FORMAT})
        assert adapted(asked, catalog().find("claude-sonnet-4-0"), FEW) == (asked, [])


class TestSizes:
    def test_max_tokens_have_a_limit(self):
        assert text("claude-3-opus-20240229", max_tokens=5000) == "max_tokens=5000: at most 4096"
        assert sent("claude-3-opus-20240229", max_tokens=5000)["max_tokens"] == 4096

    def test_a_beta_can_raise_the_limit(self):
        fields = {"max_tokens": 100_000, "betas": ["output-128k-2025-02-19"]}
        assert rules("claude-3-7-sonnet-20250219", **fields) == []

    def test_a_prompt_that_is_surely_too_long_is_refused_and_one_that_may_fit_is_not(self):
        assert rules("claude-haiku-4-5", counting(200_001), messages=LONG) == ["context"]
        assert rules("claude-haiku-4-5", counting(190_000, 250_000), messages=LONG) == []
        assert adapted(request(messages=LONG), catalog().find("claude-haiku-4-5"), counting(200_001))[1] == []

    def test_a_short_prompt_is_not_counted_unless_it_holds_media(self):
        assert rules("claude-haiku-4-5", counting(200_001)) == []
        assert rules("claude-haiku-4-5", counting(200_001), messages=asking([PDF])) == ["context"]

    def test_before_sonnet_4_5_input_and_output_must_fit_the_window_together(self):
        almost = counting(198_000, 199_000)
        assert rules("claude-sonnet-4-5", almost, messages=LONG) == []
        assert text("claude-opus-4-1", almost, messages=LONG) == (
            "max_tokens=4096: at most 2000 beside the input in the context window of 200000"
        )
        assert sent("claude-opus-4-1", almost, messages=LONG)["max_tokens"] == 1000

    def test_an_estimate_that_is_surely_over_the_window_is_told_and_not_adapted(self):
        asked, estimate = request(max_tokens=100, messages=asking("hello " * 1_200_000)), Estimator().estimate
        for name, window in (("claude-opus-4-1", 200_000), ("haiku", 1_000_000)):
            left, lost = adapted(asked, catalog().find(name), estimate)
            (fault,) = faults(left, catalog().find(name), estimate)
            assert re.fullmatch(rf"messages: at least \d{{7}} tokens, the context window is {window}", fault.text)
            assert lost == []

    def test_a_document_of_unknown_length_may_fit(self):
        url = {"type": "document", "source": {"type": "url", "url": "https://example.org/a.pdf"}}
        for name in ("claude-opus-4-1", "haiku"):
            assert rules(name, Estimator().estimate, messages=asking([url])) == []

    def test_a_prompt_of_many_tokens_in_few_bytes_is_counted(self):
        # 1.5 tokens a byte with the newest tokenizer
        messages = asking("Q," * 400_000)
        assert rules("sonnet", Estimator().estimate, messages=messages, max_tokens=9) == ["context"]


class TestContent:
    def test_images_and_pdf_are_refused_by_models_that_cannot_see_wherever_they_stand(self):
        within = [{"type": "tool_result", "tool_use_id": "t", "content": [IMAGE]}]
        for content in ([IMAGE], within):
            assert rules("claude-2.1", messages=asking(content)) == ["images"]
        assert rules("claude-2.1", messages=asking([PDF])) == ["pdf"]
        assert rules("sonnet", messages=asking([IMAGE, PDF])) == []

    def test_system_messages_amid_the_conversation_become_the_users_where_they_are_not_taken(self):
        messages = [*HI, {"role": "system", "content": "Be brief."}]
        assert rules("sonnet", messages=messages) == []
        assert rules("claude-opus-4-7", messages=messages) == ["system_messages"]
        assert [m["role"] for m in sent("claude-opus-4-7", messages=messages)["messages"]] == ["user", "user"]


class TestService:
    def test_a_place_to_run_in_is_refused_before_4_6_and_left_out(self):
        assert rules("claude-sonnet-4-6", inference_geo="us") == []
        assert rules("claude-haiku-4-5", inference_geo="us") == ["inference_geo"]
        assert "inference_geo" not in sent("claude-haiku-4-5", inference_geo="us")

    def test_fast_mode_is_left_out_where_there_is_none_and_gets_the_beta_that_it_needs(self):
        assert rules("claude-opus-5-5", speed="fast") == []
        assert "speed" not in sent("sonnet", speed="fast")
        assert text("claude-opus-5", speed="fast") == f"speed=fast: needs the beta {FAST}"
        assert rules("claude-opus-5", speed="fast", betas=[FAST]) == []
        changed, _ = adapted(request(speed="fast"), catalog().find("claude-opus-5"), FEW)
        assert changed.betas == [FAST]


class TestWhatIsNotKnown:
    EVERYTHING = request(
        messages=[*asking([IMAGE, PDF]), {"role": "system", "content": "x"}, *BEGUN],
        thinking={"type": "enabled", "budget_tokens": 1},
        output_config={"effort": "utmost", "format": FORMAT},
        temperature=2,
        max_tokens=10**9,
        tools=[TOOL],
        tool_choice={"type": "any"},
        inference_geo="moon",
        speed="fast",
    )

    @pytest.mark.parametrize("model", [unknown_model("claude-opus-6"), catalog().find("qwen")], ids=lambda m: m.id)
    def test_of_a_model_that_is_not_known_or_is_local_nothing_is_refused_or_changed(self, model):
        assert faults(self.EVERYTHING, model, counting(10**9)) == []
        assert adapted(self.EVERYTHING, model, counting(10**9)) == (self.EVERYTHING, [])

    def test_all_that_is_wrong_is_told_at_once(self):
        found = {fault.rule for fault in faults(self.EVERYTHING, catalog().find("claude-2.1"), counting(10**9))}
        assert found == {rule.name for rule in RULES} - {"thinking_off"}


def test_the_documents_tell_of_every_rule():
    told = (Path(__file__).parents[1] / "docs" / "models.md").read_text()
    assert [rule.name for rule in RULES if f"`{rule.name}`" not in told] == []


@cache
def composed(*overrides):
    return compose(["preflight=adapt", *overrides])


@pytest.mark.parametrize("model", list(catalog()), ids=lambda model: model.id)
@pytest.mark.parametrize(
    "overrides",
    [
        ["thinking=enabled"],
        ["thinking=adaptive", "sampling.temperature=0.3"],
        ["thinking=between_tools", "max_tokens=900"],
        ["thinking=off", "thinking.effort=max"],
        ["thinking=xhigh", "sampling.top_k=5", "sampling.top_p=0.9"],
        ["thinking=low", "max_tokens=200000"],
    ],
    ids=" ".join,
)
def test_one_configuration_can_be_swept_over_all_models(model, overrides):
    settings = composed(*overrides).model_copy(update={"model": model})
    fields = {
        "messages": BEGUN,
        "tools": [TOOL],
        "tool_choice": {"type": "any"},
        "inference_geo": "us",
        "speed": "fast",
    }
    asked = MessageRequest.model_validate(fields).with_defaults(AnthropicClaudeProvider(settings)._defaults)
    changed, _ = adapted(asked, model, FEW)
    assert faults(changed, model, FEW) == []
    assert changed.model == model.id
