"""From overrides to a provider."""

import threading

import pytest

import claudeprov
from claudeprov.errors import ConfigurationError

pytestmark = pytest.mark.usefixtures("no_settings")


def test_overrides_make_settings():
    assert claudeprov.open_provider(["model=claude-haiku-4-5", "max_tokens=5"]).settings.max_tokens == 5


def test_settings_can_be_used_again():
    settings = claudeprov.open_provider().settings
    assert claudeprov.open_provider(settings=settings).settings is settings


@pytest.mark.parametrize("more", [{"overrides": ["max_tokens=5"]}, {"config_dir": "."}])
def test_settings_take_no_overrides(more):
    with pytest.raises(TypeError, match="either settings, or overrides and config_dir"):
        claudeprov.open_provider(settings=claudeprov.open_provider().settings, **more)


def test_a_folder_of_ones_own_is_used(tmp_path):
    (tmp_path / "retry").mkdir()
    (tmp_path / "retry" / "mine.yaml").write_text("max_attempts: 17\n")
    assert claudeprov.open_provider(["retry=mine"], config_dir=tmp_path).settings.retry.max_attempts == 17


def test_a_wrong_override_is_refused():
    with pytest.raises(ConfigurationError, match="max_tokens"):
        claudeprov.open_provider(["max_tokens=many"])


def test_threads_may_open_providers_at_once():
    found = {}

    def open_one(number: int) -> None:
        found[number] = claudeprov.open_provider([f"max_tokens={number}"]).settings.max_tokens

    threads = [threading.Thread(target=open_one, args=(number,)) for number in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {number: number for number in range(1, 9)}


async def test_several_may_be_open_at_once(no_credentials):
    async with claudeprov.open_provider(["model=qwen"]) as one, claudeprov.open_provider(["model=sonnet"]) as other:
        assert one.settings.model.id != other.settings.model.id
