"""What is left of content before it is told."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from claudeprov.telemetry.scrub import heed_environment, scrubbed, text_without_secrets

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


@pytest.fixture
def house_token(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setenv("HOUSE_TOKEN", "open sesame")
        heed_environment()
        yield
    heed_environment()


@pytest.mark.usefixtures("house_token")
def test_a_credential_of_the_environment_is_masked_whatever_it_looks_like() -> None:
    assert scrubbed("say open sesame", 100) == "say **********"


def test_what_was_told_before_a_credential_was_known_is_masked_from_then_on(monkeypatch: pytest.MonkeyPatch) -> None:
    assert text_without_secrets("say open barley") == "say open barley"
    with monkeypatch.context() as patch:
        patch.setenv("HOUSE_TOKEN", "open barley")
        heed_environment()
        assert text_without_secrets("say open barley") == "say **********"
        assert text_without_secrets("say open barley" * 100) == "say **********" * 100
    heed_environment()
