"""The group ``ledger``."""

from __future__ import annotations

import pytest

from claudeprov.compose import compose
from claudeprov.errors import ConfigurationError
from claudeprov.settings.ledger import LedgerSettings

pytestmark = pytest.mark.usefixtures("no_settings")


def test_no_row_is_kept_unless_it_is_asked_for():
    assert compose().ledger is None


def test_sqlite_needs_nothing_to_be_said():
    assert compose(["ledger=sqlite"]).ledger == LedgerSettings()


def test_postgres_is_reached_by_a_url():
    ledger = compose(["ledger=postgres", "ledger.url='postgresql://me@db:5433/usage'"]).ledger
    assert ledger == LedgerSettings(kind="postgres", url="postgresql://me@db:5433/usage")


def test_the_url_can_come_from_the_environment(monkeypatch):
    monkeypatch.setenv("CLAUDEPROV_LEDGER", "postgres")
    monkeypatch.setenv("CLAUDEPROV_LEDGER_URL", "postgresql:///usage")
    assert compose().ledger == LedgerSettings(kind="postgres", url="postgresql:///usage")


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (
            ["ledger=postgres"],
            "ledger.url, from conf/ledger/postgres.yaml: is needed by ledger=postgres: postgresql://",
        ),
        (
            ["ledger=sqlite", "ledger.url=postgresql:///usage"],
            "ledger.url = 'postgresql:///usage'.*goes with ledger=post",
        ),
        (["ledger=postgres", "ledger.url=mysql://db/usage"], "must be a URL such as postgresql://HOST/DATABASE"),
        (["ledger=postgres", "ledger.url=postgresql://db"], "must be a URL such as postgresql://HOST/DATABASE"),
        (
            ["ledger=postgres", "ledger.url='postgresql://me:pa55word@db/usage'"],
            "must not hold a password; it comes from",
        ),
        (["ledger=postgres", "ledger.url='postgresql://db/usage?password=pa55word'"], "must not hold a password"),
        (
            ["ledger=sqlite", "ledger.kind=mysql"],
            r"is none of the values that there are.*\(allowed: sqlite, postgres\)",
        ),
        (["ledger=sqlite", "ledger.file=x"], "ledger has no such key.*allowed: kind, path, url"),
        (["ledger=sqlite", "ledger.path=''"], "ledger.path = ''.*at least 1 character"),
    ],
)
def test_what_is_wrong_is_told_with_its_key_and_without_a_secret(overrides, told):
    with pytest.raises(ConfigurationError, match=told) as caught:
        compose(overrides)
    assert "pa55word" not in str(caught.value)
    assert "pa55word" not in str(caught.value.context)
