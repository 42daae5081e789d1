from __future__ import annotations

from claudeprov.problem import configuration_error, masked, masked_text, origin_of, problem, siblings

SECRET = "sk-ant-api03-abcdefghijklmnop"


def test_a_problem_says_key_value_origin_what_is_wrong_the_nearest_name_and_what_is_allowed() -> None:
    found = problem("retry.bse", "retry has no such key", "x.yaml", value=3, allowed=["base", "cap"], word="bse")
    assert str(found) == ("retry.bse = 3, from x.yaml: retry has no such key; did you mean base? (allowed: base, cap)")


def test_a_long_value_is_told_in_part() -> None:
    assert len(str(problem("a", "is wrong", "x.yaml", value="9" * 5000))) < 400


def test_nothing_near_is_no_hint() -> None:
    found = problem("model", "there is no such option", "x.yaml", value="gpt", allowed=["sonnet"], word="gpt")
    assert found.nearest is None
    assert "did you mean" not in str(found)


def test_one_problem_is_a_line_and_several_are_a_list() -> None:
    one, other = problem("a", "is missing", ""), problem("b", "is missing", "")
    assert configuration_error(one).message == "a: is missing"
    several = configuration_error(one, other)
    assert several.message == "2 problems with the configuration\n  a: is missing\n  b: is missing"
    assert [told["key"] for told in several.context["problems"]] == ["a", "b"]


def test_the_origin_is_that_of_the_key_or_of_what_is_in_it_or_of_what_holds_it() -> None:
    origins = {"retry.base": "a file", "chain": "an override"}
    assert origin_of("retry", origins | {"retry.cap": "an override"}) == "an override"
    assert origin_of("retry.base", origins) == "a file"
    assert origin_of("retry", origins) == "a file"
    assert origin_of("chain.1", origins) == "an override"
    assert origin_of("retry.cap", origins) == "its default"


def test_siblings_are_the_keys_of_a_group_or_the_top() -> None:
    assert "max_attempts" in siblings("retry")
    assert {"retry", "max_tokens"} < set(siblings(""))
    assert siblings("alerts.rules.mine")[:2] == ("measure", "above")


def test_siblings_are_also_those_in_a_list_or_under_names_of_the_users_own() -> None:
    assert siblings("fallback.to.0") == ("model", "endpoint")
    assert "region" in siblings("fallback.to.1.endpoint")
    assert "day" in siblings("budget.tags.user")


def test_what_is_or_holds_a_secret_is_masked() -> None:
    assert masked("api_key", "x") == masked("a.auth_token", 3) == masked("password", ["x"]) == "**********"
    assert masked("note", f"key {SECRET}!") == "key **********!"
    assert masked("url", "https://me:pw@host/x") == "https://**********@host/x"
    assert masked("endpoint", {"api_key": "x", "kind": "anthropic"}) == {"api_key": "**********", "kind": "anthropic"}
    assert masked("chain", ["retry", {"token": "x"}]) == ["retry", {"token": "**********"}]
    assert masked_text("endpoint.api_key=x y") == "endpoint.api_key=**********"
    assert masked_text(f"a\n  {SECRET}") == "a **********"


def test_what_is_no_secret_is_shown() -> None:
    assert masked("api_key", None) is None
    assert masked("max_tokens", 3) == 3
    assert masked("pricing.cache_read", "0.1") == "0.1"
