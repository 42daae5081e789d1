"""What looks like a credential is masked, wherever it stands; nothing else is."""

import pytest

from claudeprov.errors import ServerError
from claudeprov.mask import MASK, masked_text

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
    ],
)
def test_keys_are_masked(secret):
    assert masked_text(f"the key {secret}, is wrong") == f"the key {MASK}, is wrong"


def test_bearer_tokens_and_logins_of_urls_are_masked():
    assert masked_text("sent Bearer abc.def-123456") == f"sent Bearer {MASK}"
    assert masked_text("no answer from http://user:word@proxy:80/") == f"no answer from http://{MASK}@proxy:80/"


@pytest.mark.parametrize(
    "text", ["sk-learn-compatible estimators", "a task-specific model", "http://127.0.0.1:8085/a@b"]
)
def test_other_texts_stay_as_they_are(text):
    assert masked_text(text) == text


def test_an_error_never_shows_a_key():
    error = ServerError("bad key " + "sk-" + "ant-" + TAIL[:20])
    assert TAIL[:20] not in error.message + str(error) + repr(error)
