"""What looks like a credential is masked, wherever it stands; nothing else is."""

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from claudeprov.errors import ServerError
from claudeprov.mask import MASK, credentials_in, masked_text, masked_within

TAIL = "abcdefghij0123456789ABCDEFGHIJ0123456789"


@pytest.mark.parametrize(
    "secret",
    [
        "sk-" + "ant-" + "api03-" + TAIL[:20],
        "sk-" + "proj-" + TAIL[:20],
        "sk-" + TAIL[:30],
        "AKIA" + "ABCDEFGHIJ012345",
        "AIza" + TAIL[:35],
        "ghp" + "_" + TAIL[:36],
        "github" + "_pat_" + TAIL[:30],
        "ya29" + "." + TAIL[:30],
        "GOCSPX" + "-" + TAIL[:28],
        "ey" + "JhbGciOiJIUzI1NiJ9." + "ey" + "JzdWIiOiIxMjM0In0." + TAIL[:30],
        "-----BEGIN RSA PRIVATE" + " KEY-----\n" + TAIL + "\n-----END RSA PRIVATE KEY-----",
    ],
)
def test_keys_are_masked(secret):
    assert masked_text(f"the key {secret}, is wrong") == f"the key {MASK}, is wrong"


@pytest.mark.parametrize("name", ["api_key", "x-api-key", "ApiKey", "access_token", "client_secret", "password"])
def test_what_a_query_names_a_secret_is_masked(name):
    assert masked_text(f"https://host/path?{name}=word&a=b") == f"https://host/path?{name}={MASK}&a=b"


@pytest.mark.parametrize("scheme", ["Basic", "basic", "bearer", "BEARER"])
def test_credentials_are_masked_after_any_scheme(scheme):
    assert masked_text(f"authorization: {scheme} dXNlcjpwYXNzd29yZA==") == f"authorization: {scheme} {MASK}"


def test_bearer_tokens_and_logins_of_urls_are_masked():
    assert masked_text("sent Bearer abc.def-123456") == f"sent Bearer {MASK}"
    assert masked_text("postgresql://db/usage?password=word&a=b") == f"postgresql://db/usage?password={MASK}&a=b"
    assert masked_text("no answer from http://user:word@proxy:80/") == f"no answer from http://{MASK}@proxy:80/"


@pytest.mark.parametrize(
    "text",
    [
        *("sk-learn-compatible estimators", "a task-specific model", "http://127.0.0.1:8085/a@b"),
        *("a basic understanding of bearer authentication", "max_tokens=100&monkey=1"),
    ],
)
def test_other_texts_stay_as_they_are(text):
    assert masked_text(text) == text


def test_an_error_never_shows_a_key():
    error = ServerError("bad key " + "sk-" + "ant-" + TAIL[:20])
    assert TAIL[:20] not in error.message + str(error) + repr(error)


class TestKnownCredentials:
    """What was sent as one is masked in whatever comes back, whatever it looks like."""

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("Authorization", "Bearer opaque-word"),
            ("x-api-key", "opaque-word"),
            ("api-key", "opaque-word"),
            ("X-Gateway-Token", "opaque-word"),
        ],
    )
    def test_are_those_of_the_headers_that_carry_them(self, name, value):
        known = credentials_in({name: value, "user-agent": "claudeprov"})
        assert masked_text("no opaque-word for claudeprov", known) == f"no {MASK} for claudeprov"

    @pytest.mark.parametrize("value", ["Bearer none", "Bearer test", "Bearer "])
    def test_are_no_words_of_a_few_letters_that_stand_anywhere(self, value):
        assert masked_text("none of the tests", credentials_in({"authorization": value})) == "none of the tests"

    def test_are_masked_at_any_depth_of_a_value(self):
        value = {"got": ["opaque-word", {"opaque-word": "sk-" + "ant-" + TAIL[:20]}], "line": 5, "more": None}
        masked = {"got": [MASK, {MASK: MASK}], "line": 5, "more": None}
        assert masked_within(value, ["opaque-word"]) == masked

    @pytest.mark.parametrize(
        "value",
        [{"opaque-word"}, frozenset(("opaque-word",)), b"opaque-word", ValueError("opaque-word"), Path("opaque-word")],
        ids=lambda value: type(value).__name__,
    )
    def test_are_masked_in_what_json_does_not_know(self, value):
        masked = masked_within({"tag": value, ("opaque-word", 1): 1}, ["opaque-word"])
        assert "opaque-word" not in str(masked) + repr(masked)
        assert str(masked).count(MASK) == 2

    def test_numbers_and_times_stay_what_they_are(self):
        value = {"usd": Decimal("1.50"), "at": datetime(2026, 1, 1, tzinfo=UTC), "no": None, "yes": True, "s": 0.5}
        assert masked_within(value, ["opaque-word"]) == value

    def test_an_object_that_cannot_be_written_is_told_by_its_class(self):
        class Odd:
            def __str__(self):
                raise RuntimeError

        assert masked_within([Odd()]) == ["<Odd>"]

    def test_a_value_that_has_no_end_is_cut(self):
        value = "opaque-word"
        for _ in range(100_000):
            value = [value]
        masked = masked_within(value, ["opaque-word"])
        assert "opaque-word" not in repr(masked)
        assert repr(masked).startswith("[[[[")
