"""What is left of content before it is told."""

from __future__ import annotations

import pytest

from claudeprov.telemetry.scrub import scrubbed

KEY = "sk-" + "ant-api03-" + "Zk8Qw3Rt7Yp1Lm5Nx9"


def test_a_text_is_cut_where_its_limit_is_and_marked_there() -> None:
    assert scrubbed("abc", 3) == "abc"
    assert scrubbed("abcd", 3) == "abc…"


def test_what_is_no_text_is_told_as_json() -> None:
    assert scrubbed({"a": ["é", None]}, 100) == '{"a": ["é", null]}'


def test_half_a_key_does_not_stand_where_it_was_cut() -> None:
    for limit in range(1, 60):
        assert "ant-api03" not in scrubbed(f"it is {KEY} indeed", limit)


@pytest.mark.parametrize(
    "secret",
    [
        KEY,
        "gh" + "p_" + "Zk8Qw3Rt7Yp1Lm5Nx9" * 2,
        "AK" + "IAZK8QW3RT7YP1LM5N",
        "ey" + "JhbGciOiJIUzI1NiJ9." + "ey" + "JzdWIiOiIxMjM0In0." + "Zk8Qw3Rt7Yp1Lm5Nx9",
        "-----BEGIN RSA PRIVATE" + " KEY-----\nZk8Qw3Rt7Yp1Lm5Nx9\nVb2Zk8Qw3Rt7Yp1Lm5\n-----END RSA PRIVATE KEY-----",
    ],
    ids=["Anthropic", "GitHub", "AWS", "JSON web token", "private key"],
)
def test_what_looks_like_a_secret_is_masked_wholly(secret: str) -> None:
    told = scrubbed(f"so {secret} is it", 1000)
    assert told == "so ********** is it"


def test_a_value_with_a_name_that_says_so_is_masked() -> None:
    assert scrubbed({"password": "Qx7" + "pL2vN9wRt4ZkM8sBc3"}, 100) == '{"password": "**********"}'


def test_a_credential_of_the_environment_is_masked_whatever_it_looks_like(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOUSE_TOKEN", "open sesame")
    assert scrubbed("say open sesame", 100) == "say **********"
