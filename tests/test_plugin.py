"""The pytest plugin, in the projects of strangers: their tests are recorded from a server on loopback, and replayed."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator

import pytest
import pytest_recording._vcr

import claudeprov.anthropic
import claudeprov.compose
from claudeprov.cassette.file import load
from claudeprov.cassette.interaction import interactions
from claudeprov.testing import text_events
from tests.server import Answer, Server

# Imported here, they are not imported anew by each project's session.
LOADED = (claudeprov.anthropic, claudeprov.compose, pytest_recording._vcr)

pytest_plugins = ["pytester"]
pytestmark = pytest.mark.usefixtures("no_credentials", "no_settings")

HEAD = """
import asyncio
import pytest
import claudeprov

pytestmark = pytest.mark.claudeprov("model=haiku", "retry=off")


def asking(text):
    return {"messages": [{"role": "user", "content": text}]}
"""
ONE = """
async def test_it(provider):
    assert (await provider.send_message(asking("Hi"))).text
"""
TWO = """
async def test_it(provider):
    await provider.send_message(asking("Hi"))
    await provider.send_message(asking("And now?"))
"""
UNAUTHORIZED = Answer(
    b'{"type": "error", "error": {"type": "authentication_error", "message": "no"}}',
    status=401,
    headers={"content-type": "application/json"},
)


def answer(*texts: str) -> Answer:
    return Answer([f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode() for event in text_events(*texts)])


class Project:
    """A project with one test module, and a server that its recordings are made from."""

    def __init__(self, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, server: Server) -> None:
        self.server = server
        self.root = pytester.path
        self._pytester = pytester
        self._monkeypatch = monkeypatch
        pytester.makeini("[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\n")

    def write(self, test: str, module: str = "tests/test_a.py") -> None:
        path = self.root / module
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(HEAD + test)

    def replay(self, *args: str) -> pytest.RunResult:
        """Run the tests without credentials."""
        own = ("-p", "no:cacheprovider", "--import-mode=importlib")
        return self._pytester.runpytest_inprocess(*own, *args, no_reraise_ctrlc=True)

    def record(self, *args: str, mode: str | None = "rewrite") -> pytest.RunResult:
        """Run the tests with what a recording needs."""
        with self._monkeypatch.context() as patch:
            patch.setenv("ANTHROPIC_API_KEY", "unused")
            patch.setenv("CLAUDEPROV_ENDPOINT", "compatible")
            patch.setenv("CLAUDEPROV_ENDPOINT_BASE_URL", self.server.url)
            return self.replay(*([f"--record-mode={mode}"] if mode else []), *args)

    def cassettes(self) -> list[str]:
        return sorted(path.relative_to(self.root).as_posix() for path in self.root.rglob("*.yaml"))

    def recorded(self, name: str = "cassettes/test_a/test_it.yaml") -> list[str]:
        """What was asked in the recordings of a cassette."""
        return [
            json.loads(item.request.body)["messages"][-1]["content"] for item in interactions(load(self.root / name))
        ]


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    server = Server(answer("It is", " sunny."))
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    asyncio.run_coroutine_threadsafe(server.__aenter__(), loop).result()
    yield Project(pytester, monkeypatch, server)
    asyncio.run_coroutine_threadsafe(server.__aexit__(None, None, None), loop).result()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def output(result: pytest.RunResult) -> str:
    return result.stdout.str() + result.stderr.str()


def test_tests_of_every_kind_are_recorded_once_and_replayed_with_the_network_shut(project):
    project.write("""
def test_plain(provider):
    async def ask():
        return await provider.send_message(asking("Hi"))

    assert asyncio.run(ask()).text == "It is sunny."


async def test_asyncio(provider):
    assert [chunk.text async for chunk in provider.send_message(asking("Hi")) if chunk.text] == ["It is", " sunny."]


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_anyio(provider, anyio_backend):
    assert (await provider.send_message(asking("Hi"))).model == "scripted"


async def test_entered(provider):
    async with provider:
        assert (await provider.send_message(asking("Hi"))).text == "It is sunny."


async def test_left(provider):
    async with provider.send_message(asking("Hi")) as stream:
        async for chunk in stream:
            break
""")
    project.record("--block-network").assert_outcomes(passed=5)
    asked = len(project.server.asked)
    assert asked == 5
    project.replay("--block-network").assert_outcomes(passed=5)
    project.replay("-p", "no:asyncio", "-p", "no:recording", "-k", "plain or anyio").assert_outcomes(
        passed=2, deselected=3
    )
    assert len(project.server.asked) == asked
    assert {item.details.suite for item in interactions(load(project.root / "cassettes/test_a/test_plain.yaml"))} == {
        "tests/test_a.py::test_plain"
    }


def test_a_test_without_its_cassette_fails_with_the_command_that_records_it(project):
    project.write(ONE)
    result = project.replay()
    result.assert_outcomes(errors=1)
    path = project.root / "cassettes" / "test_a" / "test_it.yaml"
    assert (
        f"there is no cassette {path}. To record it: pytest --record-mode=rewrite tests/test_a.py::test_it"
        in output(result)
    )
    assert project.server.asked == []


def test_a_test_that_uses_only_a_part_of_its_cassette_fails_and_names_the_rest(project):
    project.write(TWO)
    project.record().assert_outcomes(passed=1)
    project.write(ONE)
    result = project.replay()
    result.assert_outcomes(failed=1)
    told = output(result)
    assert "1 of 2 recordings of " in told
    assert '  2. POST /v1/messages claude-haiku-5-5 {"content": "And now?", "role": "user"}' in told
    assert "To record it again: pytest --record-mode=rewrite tests/test_a.py::test_it" in told


def test_a_test_that_fails_by_itself_is_told_nothing_of_its_cassette(project):
    project.write(TWO)
    project.record()
    project.write("def test_it(provider):\n    assert not 'a finding'\n")
    result = project.replay()
    result.assert_outcomes(failed=1)
    assert "recordings" not in output(result)


def test_a_request_that_was_not_recorded_fails_with_the_difference_and_the_command(project):
    project.write(ONE)
    project.record()
    project.write(ONE.replace("Hi", "Ho"))
    result = project.replay()
    result.assert_outcomes(failed=1)
    assert '$.messages[0].content: recorded "Hi", sent "Ho"' in output(result)
    assert "To record it: pytest --record-mode=rewrite tests/test_a.py::test_it" in output(result)


def test_a_miss_that_the_tested_code_swallows_fails_the_test_nevertheless(project):
    project.write(ONE)
    project.record()
    project.write("""
async def test_it(provider):
    await provider.send_message(asking("Hi"))
    with pytest.raises(claudeprov.ProviderError):
        await provider.send_message(asking("Ho"))
""")
    result = project.replay()
    result.assert_outcomes(failed=1)
    assert "1 request(s) were not recorded in" in output(result)


@pytest.mark.parametrize(
    ("mode", "sent", "kept"),
    [
        ("none", [], ["Hi", "And now?"]),
        ("once", [], ["Hi", "And now?"]),
        ("new_episodes", ["Ho"], ["Hi", "And now?", "Ho"]),
        ("all", ["Hi", "Ho"], ["Hi", "Ho"]),
        ("rewrite", ["Hi", "Ho"], ["Hi", "Ho"]),
    ],
)
def test_the_modes_of_pytest_recording_say_what_is_sent_and_what_is_kept(project, mode, sent, kept):
    project.write(TWO)
    project.record(mode="once").assert_outcomes(passed=1)
    project.write(TWO.replace("And now?", "Ho"))
    result = project.record(mode=mode)
    result.assert_outcomes(**({"passed": 1} if sent else {"failed": 1}))
    assert [asked.body["messages"][-1]["content"] for asked in project.server.asked[2:]] == sent
    assert project.recorded() == kept


def test_a_mark_may_choose_the_mode_too_and_the_flag_is_above_it(project):
    project.write('pytestmark = [pytestmark, pytest.mark.vcr(record_mode="once")]\n' + ONE)
    project.record(mode="none").assert_outcomes(errors=1)
    assert project.cassettes() == []
    project.write('pytestmark = [pytestmark, pytest.mark.vcr(record_mode="rewrite")]\n' + ONE)
    project.record(mode=None).assert_outcomes(passed=1)
    assert project.recorded() == ["Hi"]


def test_the_mark_of_pytest_recording_neither_joins_the_chunks_nor_records_them_a_second_time(project):
    project.write("""
@pytest.mark.vcr(skip_patchers=("boto3",))
async def test_it(provider, vcr):
    assert [chunk.text async for chunk in provider.send_message(asking("Hi")) if chunk.text] == ["It is", " sunny."]
    assert len(vcr) == 0
    assert set(vcr.skip_patchers) == {"aiohttp", "boto3", "httpx2"}
""")
    project.record("--block-network").assert_outcomes(passed=1)
    project.replay("--block-network").assert_outcomes(passed=1)
    assert project.cassettes() == ["cassettes/test_a/test_it.yaml"]
    [item] = interactions(load(project.root / "cassettes/test_a/test_it.yaml"))
    assert len(item.details.sizes) > 2


def test_a_provider_of_the_projects_own_is_left_alone(project):
    project.write("""
@pytest.fixture
def provider():
    return "mine"


@pytest.mark.vcr
def test_it(provider, vcr):
    assert provider == "mine"
    assert not vcr.skip_patchers
""")
    project.replay().assert_outcomes(passed=1)


def test_a_recording_that_the_provider_failed_leaves_the_old_cassette(project):
    project.write(ONE)
    project.record().assert_outcomes(passed=1)
    before = (project.root / "cassettes/test_a/test_it.yaml").read_text()
    project.server.answers = (UNAUTHORIZED,)
    project.record().assert_outcomes(failed=1)
    assert (project.root / "cassettes/test_a/test_it.yaml").read_text() == before


def test_a_recording_that_is_interrupted_leaves_the_old_cassette(project):
    project.write(TWO)
    project.record().assert_outcomes(passed=1)
    project.write(ONE + "    raise KeyboardInterrupt\n")
    assert project.record().ret == pytest.ExitCode.INTERRUPTED
    assert project.recorded() == ["Hi", "And now?"]


def test_a_recording_takes_the_place_of_whatever_was_in_its_file(project):
    project.write(ONE, "tests/test_b.py")
    project.record()
    (project.root / "cassettes" / "test_a").mkdir()
    (project.root / "cassettes/test_b/test_it.yaml").rename(project.root / "cassettes/test_a/test_it.yaml")
    project.write(ONE.replace("Hi", "Ho"))
    project.record("tests/test_a.py").assert_outcomes(passed=1)
    assert project.recorded() == ["Ho"]


def test_a_recording_whose_words_a_test_does_not_expect_is_kept(project):
    project.write(ONE + "    assert False\n")
    project.record().assert_outcomes(failed=1)
    assert project.recorded() == ["Hi"]


def test_a_recording_without_credentials_fails_before_anything_is_sent(project):
    project.write(ONE)
    result = project.replay("--record-mode=rewrite")
    result.assert_outcomes(errors=1)
    assert "set ANTHROPIC_API_KEY" in output(result)
    assert project.cassettes() == []


def test_a_recording_of_no_request_fails_the_test(project):
    project.write("def test_it(provider):\n    pass\n")
    result = project.record()
    result.assert_outcomes(failed=1)
    assert "the test made no request" in output(result)


def test_every_test_has_a_file_of_its_own_with_a_name_for_any_file_system(project):
    project.write(
        """
@pytest.fixture(autouse=True)
def tell(provider_cassette, pytestconfig):
    print("\\nIS", provider_cassette.relative_to(pytestconfig.rootpath).as_posix())


@pytest.mark.parametrize("place", ["a/b", "a:b", "c"])
def test_many(place):
    pass


class TestOuter:
    class TestInner:
        def test_it(self):
            pass


@pytest.mark.default_cassette("named")
def test_named():
    pass


@pytest.mark.parametrize("text", [""], ids=["x" * 300])
def test_long(text):
    pass
""",
        "tests/deep/test_b.py",
    )
    result = project.replay("-s")
    result.assert_outcomes(passed=6)
    assert [line.removeprefix("IS cassettes/deep/test_b/") for line in result.outlines if line.startswith("IS ")] == [
        "test_many[a-b]-22fc6f00.yaml",
        "test_many[a-b]-d7734636.yaml",
        "test_many[c].yaml",
        "TestOuter.TestInner.test_it.yaml",
        "named.yaml",
        f"test_long[{'x' * 90}-ba1159fd.yaml",
    ]


def test_of_the_marks_of_configuration_the_nearest_wins(project):
    (project.root / "own" / "retry").mkdir(parents=True)
    (project.root / "own" / "retry" / "mine.yaml").write_text(
        "max_attempts: 7\nbase: 1\ncap: 1\nmax_wait: 1\noverloaded_base: 1\noverloaded_cap: 1\nbudget: 9\n"
    )
    project.write("""
@pytest.mark.claudeprov("retry=mine", config_dir="own")
@pytest.mark.claudeprov("max_tokens=7", "cassette=live")
def test_it(provider):
    assert provider.settings.retry.max_attempts == 7
    assert provider.settings.max_tokens == 7
    assert provider.settings.model.id == "claude-haiku-5-5"
""")
    project.record().assert_outcomes(passed=1)


def test_a_mark_that_is_wrong_fails_its_test_with_what_is_allowed(project):
    project.write('@pytest.mark.claudeprov("retry=patent")\n' + ONE.strip())
    result = project.replay()
    result.assert_outcomes(errors=1)
    assert "patient" in output(result)
    assert "another exception" not in output(result)


def test_a_cassette_that_a_mark_names_may_serve_many_tests_and_is_not_recorded_by_any(project):
    project.write(TWO)
    project.record()
    before = project.recorded()
    project.write(
        '@pytest.mark.claudeprov("cassette.path=cassettes/test_a/test_it.yaml")\n' + ONE.strip(), "tests/test_b.py"
    )
    asked = len(project.server.asked)
    project.replay("tests/test_b.py").assert_outcomes(passed=1)
    project.record("tests/test_b.py").assert_outcomes(passed=1)
    assert len(project.server.asked) == asked
    assert project.recorded() == before


def test_a_cassette_that_is_broken_fails_its_test_in_one_line(project):
    project.write(ONE)
    (project.root / "cassettes" / "test_a").mkdir(parents=True)
    (project.root / "cassettes" / "test_a" / "test_it.yaml").write_text("a: b")
    result = project.replay()
    result.assert_outcomes(errors=1)
    assert "test_it.yaml is no cassette" in output(result)
    assert "another exception" not in output(result)


def test_on_a_manual_clock_a_replay_takes_as_long_as_its_recording(project):
    project.write(ONE)
    project.record()
    project.write("""
from claudeprov.cassette.file import load
from claudeprov.cassette.interaction import interactions
from claudeprov.testing import ManualClock


@pytest.fixture
def provider_clock():
    return ManualClock()


@pytest.mark.claudeprov("cassette.speed=1")
async def test_it(provider, provider_clock, provider_cassette):
    async def ask():
        return await provider.send_message(asking("Hi"))

    response = await provider_clock.run(ask())
    [recording] = interactions(load(provider_cassette))
    assert response.timing.first_chunk == pytest.approx(recording.details.first_chunk)
""")
    project.replay().assert_outcomes(passed=1)


def test_the_plugin_costs_a_session_nothing_that_does_not_use_it(project):
    project.write(
        """
import sys


def test_it():
    ours = {name for name in sys.modules if name.partition(".")[0] == "claudeprov"}
    assert ours == {"claudeprov", "claudeprov.testing", "claudeprov.testing.plugin"}
    assert not sys.modules.keys() & {"anthropic", "hydra", "httpx2", "pydantic", "vcr"}
""".replace("import claudeprov\n", "")
    )
    project._pytester.runpytest_subprocess("-p", "no:hydra_pytest").assert_outcomes(passed=1)
