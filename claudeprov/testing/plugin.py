"""The pytest plugin: a provider for each test, wired to the test's own cassette.

pytest loads it wherever claudeprov is installed, so it imports nothing of claudeprov until its fixture is used.
"""

from __future__ import annotations

import json
import re
from collections.abc import Coroutine, Generator, Iterator
from hashlib import blake2b
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from claudeprov.cassette.interaction import Interaction
    from claudeprov.clock import Clock
    from claudeprov.provider import AnthropicClaudeProvider
    from claudeprov.settings import Settings
    from claudeprov.settings.cassette import CassetteSettings

_OWN = pytest.StashKey["AnthropicClaudeProvider"]()
"""The provider of a test that owns its cassette."""

_CARRIERS = frozenset({"httpx2", "aiohttp"})
"""vcrpy's patches of what carries the provider's requests: they join a stream to one chunk, and lose where it broke."""


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "claudeprov(*overrides, config_dir=None): configuration of the fixture 'provider', in Hydra's grammar; "
        "what stands nearer to the test wins.",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep pytest-recording out of the provider's way: its patches, and its shut network while it records."""
    recording = config.getoption("--record-mode", default=None) not in (None, "none")
    for item in items:
        if "provider_cassette" not in getattr(item, "fixturenames", ()):
            continue
        if marks := list(item.iter_markers("vcr")):
            skipped = _CARRIERS.union(*(mark.kwargs.get("skip_patchers", ()) for mark in marks))
            item.add_marker(pytest.mark.vcr(skip_patchers=tuple(sorted(skipped))), append=False)
        elif recording:
            item.add_marker(pytest.mark.block_network(allowed_hosts=[".*"]), append=False)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    """Fail a test that passed, but left some of its cassette unused."""
    provider = item.stash.get(_OWN, None)
    if provider is None:
        return (yield)
    try:
        result = yield
    except BaseException as error:
        _forget(provider, error)
        raise
    if problem := _problem(provider, item.nodeid):
        pytest.fail(problem, pytrace=False)
    return result


@pytest.fixture
def provider_cassette(request: pytest.FixtureRequest) -> Path:
    """The file of the test's cassette; override it to keep cassettes elsewhere.

    It is ``cassettes/MODULE/TEST.yaml`` in pytest's root folder. A mark ``default_cassette`` of pytest-recording names
    it otherwise.
    """
    node = request.node
    mark = node.get_closest_marker("default_cassette")
    classes = [parent.name for parent in node.listchain() if isinstance(parent, pytest.Class)]
    name = mark.args[0] if mark else ".".join([*classes, node.name])
    root: Path = request.config.rootpath
    return root / "cassettes" / _module(node.path, root) / f"{_file_name(name)}.yaml"


@pytest.fixture
def provider_clock() -> Clock:
    """Where the provider's time comes from; override it with a :class:`~claudeprov.testing.ManualClock`."""
    from claudeprov.clock import SYSTEM_CLOCK

    return SYSTEM_CLOCK


@pytest.fixture
def provider(
    request: pytest.FixtureRequest, provider_cassette: Path, provider_clock: Clock
) -> Iterator[AnthropicClaudeProvider]:
    """An open provider that replays the test's cassette, or records it where pytest's ``--record-mode`` says so.

    It belongs to no event loop, so that plain tests, pytest-asyncio and anyio can all use it. Marks ``claudeprov``
    configure it; one that chooses ``cassette`` or ``cassette.path`` takes it from the test's own cassette.
    """
    from claudeprov.cassette import command_to_record
    from claudeprov.cassette.recording import RecordingTransport
    from claudeprov.errors import CassetteError
    from claudeprov.provider import AnthropicClaudeProvider

    node, root = request.node, request.config.rootpath
    settings = _settings(request)
    cassette = settings.cassette
    own = cassette.mode == "replay" and cassette.path is None
    if own:
        cassette = _own_cassette(cassette, provider_cassette, _record_mode(request))
        if cassette.mode == "replay" and not provider_cassette.is_file():
            advice = f"To record it: {command_to_record(node.nodeid)}"
            pytest.fail(f"there is no cassette {provider_cassette}. {advice}", pytrace=False)
    elif cassette.path:
        cassette = cassette.model_copy(update={"path": str(root / cassette.path)})
    settings = settings.model_copy(update={"cassette": cassette})
    provider = AnthropicClaudeProvider(settings, clock=provider_clock, suite=node.nodeid)
    if own:
        node.stash[_OWN] = provider
    try:
        _run(provider.initialize())
    except CassetteError as error:
        raise pytest.fail.Exception(str(error), pytrace=False) from None
    if own and not cassette.new_only and isinstance(provider.cassette, RecordingTransport):
        provider.cassette.keeps = lambda earlier: False
    yield provider
    _run(provider.dispose())


def _settings(request: pytest.FixtureRequest) -> Settings:
    """The configuration that the marks of the test give; it replays, unless they say otherwise."""
    from claudeprov.compose import compose
    from claudeprov.errors import ConfigurationError

    marks = list(request.node.iter_markers("claudeprov"))[::-1]
    overrides = ["cassette=replay", "cassette.path=null", *(override for mark in marks for override in mark.args)]
    folders = [request.config.rootpath / mark.kwargs["config_dir"] for mark in marks if "config_dir" in mark.kwargs]
    try:
        return compose(overrides, config_dir=folders[-1] if folders else None)
    except ConfigurationError as error:
        told = f"the marks 'claudeprov' of {request.node.nodeid}: {error}"
        raise pytest.fail.Exception(told, pytrace=False) from None


def _run(work: Coroutine[Any, Any, None]) -> None:
    """Run *work* in a loop of its own, without a trace in what asyncio takes for the current loop."""
    import asyncio

    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(work)
    finally:
        loop.close()


def _record_mode(request: pytest.FixtureRequest) -> str:
    """The mode that pytest-recording records in: that of its flag, of the nearest mark, or of ``vcr_config``."""
    config = request.config
    shared = request.getfixturevalue("vcr_config") if config.pluginmanager.has_plugin("recording") else {}
    marks = (mark.kwargs for mark in request.node.iter_markers("vcr"))
    flag = {"record_mode": config.getoption("--record-mode", default=None)}
    return next((mode for given in (flag, *marks, shared) if (mode := given.get("record_mode"))), "none")


def _own_cassette(settings: CassetteSettings, path: Path, record_mode: str) -> CassetteSettings:
    """What a mode of pytest-recording means for the provider."""
    replay = record_mode == "none" or (record_mode == "once" and path.is_file())
    mode = "replay" if replay else "record"
    return settings.model_copy(update={"mode": mode, "path": str(path), "new_only": record_mode == "new_episodes"})


def _forget(provider: AnthropicClaudeProvider, error: BaseException) -> None:
    """Keep the old cassette of a test that the provider has failed, or that was interrupted: that is no session."""
    from claudeprov.cassette.recording import RecordingTransport
    from claudeprov.errors import ProviderError

    if isinstance(error, (ProviderError, KeyboardInterrupt)) and isinstance(provider.cassette, RecordingTransport):
        provider.cassette.discard()


def _problem(provider: AnthropicClaudeProvider, test: str) -> str | None:
    """What is wrong between a test that passed and its cassette, if anything is."""
    from claudeprov.cassette import command_to_record
    from claudeprov.cassette.recording import RecordingTransport
    from claudeprov.cassette.replay import ReplayTransport

    transport, path = provider.cassette, provider.settings.cassette.path
    again = f"To record it again: {command_to_record(test)}"
    if isinstance(transport, ReplayTransport):
        if transport.missed:
            return f"{transport.missed} request(s) were not recorded in {path}. {again}"
        if unused := transport.unplayed:
            total = transport.played + len(unused)
            listed = "".join(f"\n  {_told(item)}" for item in unused)
            return f"{transport.played} of {total} recordings of {path} were used. Not used:{listed}\n{again}"
    elif isinstance(transport, RecordingTransport) and not transport.recorded:
        return f"{path} was not written: the test made no request. It needs no fixture 'provider'."
    return None


def _told(item: Interaction) -> str:
    """An exchange in one line: its number, what was asked of what, and the last message."""
    from claudeprov.cassette.match import sent_of

    sent = sent_of(item.request)
    messages = sent.body.get("messages") if isinstance(sent.body, dict) else None
    last = json.dumps(messages[-1], ensure_ascii=False) if messages else ""
    return " ".join(filter(None, [f"{item.index + 1}.", sent.method, sent.path, sent.model, shorten(last, 100)]))


def _module(file: Path, root: Path) -> Path:
    """The folder for a test module: its path below the root, without the folder of the tests."""
    path = file.relative_to(root) if file.is_relative_to(root) else Path(file.name)
    parts = path.with_suffix("").parts
    return Path(*parts[1:] if parts[0] in ("test", "tests") and len(parts) > 1 else parts)


def _file_name(name: str) -> str:
    """A name that any file system takes; two tests never share one."""
    safe = re.sub(r"[^\w.@+=,\[\]-]+", "-", name, flags=re.ASCII)[:100]
    return safe if safe == name else f"{safe}-{blake2b(name.encode(), digest_size=4).hexdigest()}"
