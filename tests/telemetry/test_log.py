"""What is logged of each call, in which form, to whom, and what it costs when nobody listens."""

from __future__ import annotations

import gc
import json
import logging
import re
import subprocess
import sys
from random import Random

import pytest
import structlog

from claudeprov.compose import compose
from claudeprov.errors import OverloadedError, ProviderError, ServerError
from claudeprov.middleware.retry import Retry
from claudeprov.middleware.telemetry import Telemetry
from claudeprov.notice import Notices
from claudeprov.provider import AnthropicClaudeProvider
from claudeprov.settings.retry import RetrySettings
from claudeprov.settings.telemetry import TelemetrySettings
from claudeprov.telemetry.log import Log
from claudeprov.telemetry.names import Names
from claudeprov.testing import ManualClock, ScriptedProvider, text_events
from claudeprov.testing.faulty import FaultyTransport, Reply

HI = {"messages": [{"role": "user", "content": "a private question"}], "model": "claude-haiku-4-5"}
LOGGER = logging.getLogger("claudeprov")
KEY = "sk-ant-" + "api03-" + "x7Kq" * 6
PASSWORD = "Qx7" + "pL2vN9wRt4ZkM8sBc3"
CLI = [sys.executable, "-m", "claudeprov"]


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def events():
    """What the application's structlog is handed."""
    got = []

    def take(logger, method, event):
        got.append(event | {"level": method, "logger": logger.name})
        raise structlog.DropEvent

    structlog.configure(processors=[structlog.contextvars.merge_contextvars, take])
    yield got
    structlog.reset_defaults()


@pytest.fixture
def listening(caplog):
    caplog.set_level(logging.INFO, logger="claudeprov")


def layer_of(notices=None, **settings):
    return Telemetry([Names(), Log(TelemetrySettings(**settings))], notices)


def lines_of(capsys):
    out, err = capsys.readouterr()
    assert out == ""
    return [json.loads(line) for line in err.splitlines()]


@pytest.mark.usefixtures("listening")
async def test_a_call_is_told_at_its_start_and_at_its_end(events, clock):
    start, *rest = text_events("a", "b", model="claude-haiku-4-5")
    provider = ScriptedProvider([2, start, 3, *rest], layers=[layer_of()], clock=clock)
    await clock.run(provider.send_message(HI, tags={"run": "r", "user": "u"}))
    started, ended = events
    shared = {
        "level": "info",
        "logger": "claudeprov",
        "call_id": started["call_id"],
        "model": "claude-haiku-4-5",
        "run": "r",
        "tags": {"run": "r", "user": "u"},
    }
    assert started == {"event": "call.started", **shared}
    assert str(ended.pop("cost_usd")) == "0.000011"
    assert ended == {
        "event": "call.ended",
        "kind": "read",
        "attempt": 1,
        "attempts": 1,
        "stop_reason": "end_turn",
        "input_tokens": 1,
        "output_tokens": 2,
        "first_chunk": 2,
        "queue": 0,
        "backoff": 0,
        "total": 5,
        **shared,
    }


@pytest.mark.usefixtures("listening")
async def test_each_retry_is_told_once_before_its_wait(events, clock):
    notices = Notices(clock)
    retry = Retry(RetrySettings(), clock=clock, random=Random(1), notices=notices)
    errors = [OverloadedError("529", retry_after=60, request_id="req_1"), ServerError("500", retry_after=60)]
    provider = ScriptedProvider(*errors, "Hello", layers=[layer_of(notices), retry], clock=clock)
    await clock.run(provider.send_message(HI))
    assert [event["event"] for event in events] == ["call.started", "retry.waiting", "retry.waiting", "call.ended"]
    told = [(event["attempt"], event["seconds"], event["error"]) for event in events[1:3]]
    assert told == [(1, 60, "overloaded"), (2, 60, "server_error")]
    assert events[1]["request_id"] == "req_1"
    assert len({event["call_id"] for event in events}) == 1


@pytest.mark.usefixtures("listening")
@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (ServerError("500"), "server_error"),
        ([*text_events("Hel")[:3], ServerError("broken off")], "server_error"),
        (KeyError("a bug"), "KeyError"),
    ],
    ids=["opening", "reading", "bug"],
)
async def test_a_failure_is_told_with_its_code(events, answer, code):
    with pytest.raises((ServerError, KeyError)):
        await ScriptedProvider(answer, layers=[layer_of()]).send_message(HI)
    assert [event["event"] for event in events] == ["call.started", "call.ended"]
    assert (events[-1]["kind"], events[-1]["error"]) == ("failed", code)


@pytest.mark.usefixtures("listening")
async def test_a_notice_of_no_call_is_told_without_one(events, clock):
    notices = Notices(clock)
    layer_of(notices)
    notices.post("breaker.changed", route="anthropic/sonnet", **{"from": "closed", "to": "open"})
    assert events == [
        {
            **{"event": "breaker.changed", "route": "anthropic/sonnet", "from": "closed", "to": "open"},
            **{"level": "info", "logger": "claudeprov"},
        }
    ]


@pytest.mark.usefixtures("listening")
async def test_an_application_without_structlog_gets_lines_of_keys_and_values(caplog, capsys):
    await ScriptedProvider("Hello", layers=[layer_of()]).send_message(HI)
    started, ended = (record.getMessage() for record in caplog.records if record.name == "claudeprov")
    assert "event=call.started" in started
    assert "event=call.ended" in ended
    assert "output_tokens=1" in ended
    assert capsys.readouterr() == ("", "")


async def test_nothing_is_told_while_nobody_listens(events, clock):
    notices = Notices(clock)
    await ScriptedProvider("Hello", layers=[layer_of(notices)]).send_message(HI)
    notices.post("breaker.changed")
    assert events == []


async def test_json_is_one_object_a_line_on_standard_error(capsys):
    layer = layer_of(log="json")
    await ScriptedProvider("Hello", layers=[layer]).send_message(HI, tags={"task": "sort"})
    await layer.close()
    started, ended = lines_of(capsys)
    assert started["event"] == "call.started"
    assert started["level"] == "info"
    assert re.fullmatch(r"2\d{3}-\d\d-\d\dT[\d:.]+Z", started["timestamp"])
    assert (ended["event"], ended["task"], ended["attempt"]) == ("call.ended", "sort", 1)


async def test_the_readable_form_is_a_line_an_event_without_colours_where_there_is_no_terminal(capsys):
    layer = layer_of(log="console")
    await ScriptedProvider("Hello", layers=[layer]).send_message(HI)
    await layer.close()
    started, ended = capsys.readouterr().err.splitlines()
    assert "call.started" in started
    assert "kind=read" in ended
    assert "\x1b" not in started


@pytest.mark.parametrize("form", ["json", "console"])
async def test_the_root_logger_is_never_touched_and_hears_nothing(form, capsys, caplog):
    root = logging.getLogger()
    before = (list(root.handlers), root.level, list(root.filters))
    layer = layer_of(log=form)
    await ScriptedProvider("Hello", layers=[layer]).send_message(HI)
    assert (list(root.handlers), root.level, list(root.filters)) == before
    assert caplog.records == []
    await layer.close()


async def test_the_logger_is_left_as_it_was_by_the_last_that_closes(capsys):
    before = (list(LOGGER.handlers), LOGGER.level, LOGGER.propagate)
    first, second = layer_of(log="json"), layer_of(log="json")
    await first.close()
    await first.close()
    await ScriptedProvider("Hello", layers=[second]).send_message(HI)
    assert len(lines_of(capsys)) == 2
    await second.close()
    assert (list(LOGGER.handlers), LOGGER.level, LOGGER.propagate) == before


async def test_a_layer_that_is_never_closed_takes_its_handler_along():
    before = list(LOGGER.handlers)
    layer = layer_of(log="json")
    assert LOGGER.handlers != before
    del layer
    assert LOGGER.handlers == before


@pytest.mark.usefixtures("no_settings")
@pytest.mark.parametrize("override", ["chain=[telemetry,{_target_:claudeprov.NoSuch}]", "cassette.path=no/such.yaml"])
async def test_a_provider_that_cannot_be_opened_leaves_no_handler(override):
    before = list(LOGGER.handlers)
    try:
        await AnthropicClaudeProvider(compose(["telemetry=json", "cassette=replay", override])).initialize()
    except ProviderError:
        pass
    else:
        pytest.fail("it was opened")
    gc.collect()
    assert LOGGER.handlers == before


async def test_a_bug_that_is_logged_stands_in_one_json_line_without_its_secrets(capsys):
    layer = layer_of(log="json")
    try:
        raise ValueError(f"the server said: {KEY}")
    except ValueError:
        logging.getLogger("claudeprov.stream").exception("an end hook failed at %s", KEY)
    await layer.close()
    [line] = lines_of(capsys)
    assert "ValueError: the server said: **********" in line["exception"]
    assert KEY not in str(line)


async def test_neither_prompt_nor_answer_is_told_by_default(capsys, clock):
    notices = Notices(clock)
    layer = layer_of(notices, log="json")
    await ScriptedProvider("a private answer", layers=[layer]).send_message(HI)
    notices.post("tool.ended", "run_1", tool="t", arguments={"q": "private"}, content="private")
    await layer.close()
    assert "private" not in str(lines_of(capsys))


async def test_content_is_told_cut_and_without_secrets_where_that_is_asked_for(capsys, clock):
    notices = Notices(clock)
    layer = layer_of(notices, log="json", content=True, content_limit=60)
    request = HI | {"messages": [*HI["messages"], {"role": "user", "content": f"my key is {KEY} " + "x" * 100}]}
    await ScriptedProvider("a private answer", layers=[layer]).send_message(request)
    notices.post("tool.ended", "run_1", tool="t", arguments={"q": KEY}, content=f"password: {PASSWORD}")
    await layer.close()
    started, ended, tool = lines_of(capsys)
    assert started["prompt"] == '{"role": "user", "content": "my key is ********** xxxxxxxxxx'[:60] + "…"
    assert ended["answer"] == '[{"type": "text", "text": "a private answer"}]'
    assert tool["arguments"] == '{"q": "**********"}'
    assert tool["content"] == "password: **********"


@pytest.mark.parametrize("form", ["host", "json", "console"])
@pytest.mark.parametrize(
    "tag", [KEY, KEY.encode(), {KEY}, (KEY,), {KEY: 1}, ValueError(KEY)], ids=lambda tag: type(tag).__name__
)
async def test_no_other_handler_is_handed_a_secret_either(form, tag, caplog, capsys):
    caplog.set_level(logging.INFO, logger="claudeprov")
    layer = layer_of(log=form)
    LOGGER.addHandler(caplog.handler)
    try:
        await ScriptedProvider("Hello", layers=[layer]).send_message(HI, tags={"user": tag})
    finally:
        LOGGER.removeHandler(caplog.handler)
        await layer.close()
    records = [record for record in caplog.records if record.name == "claudeprov"]
    assert len(records) >= 2
    assert KEY not in str([(vars(record), record.getMessage()) for record in records]) + str(capsys.readouterr())


async def test_a_password_of_the_environment_is_told_nowhere(monkeypatch, capsys):
    monkeypatch.setenv("MY_SERVICE_PASSWORD", "correct horse")
    layer = layer_of(log="json")
    request = HI | {"model": "correct horse"}
    await ScriptedProvider("Hello", layers=[layer]).send_message(request, tags={"run": "correct horse", "user": "a"})
    await layer.close()
    lines = lines_of(capsys)
    assert len(lines) == 2
    assert "correct horse" not in str(lines)


@pytest.mark.usefixtures("listening")
async def test_a_name_with_a_space_that_the_application_has_bound_is_told_with_another(caplog):
    with structlog.contextvars.bound_contextvars(**{"user id": 7}):
        await ScriptedProvider("Hello", layers=[layer_of()]).send_message(HI)
    assert [" user_id=7" in record.getMessage() for record in caplog.records] == [True, True]


@pytest.mark.usefixtures("listening")
async def test_structlog_may_be_configured_after_the_provider_is_opened(request):
    layer = layer_of()
    events = request.getfixturevalue("events")
    await ScriptedProvider("Hello", layers=[layer]).send_message(HI)
    assert [event["event"] for event in events] == ["call.started", "call.ended"]


async def test_events_of_a_provider_beside_one_with_json_are_json_too(capsys):
    beside, json_layer = layer_of(), layer_of(log="json")
    await ScriptedProvider("Hello", layers=[beside]).send_message(HI)
    await json_layer.close()
    assert [line["event"] for line in lines_of(capsys)] == ["call.started", "call.ended"]


async def test_json_is_written_after_the_application_has_disabled_all_loggers(capsys, monkeypatch):
    monkeypatch.setattr(LOGGER, "disabled", True)
    layer = layer_of(log="json")
    await ScriptedProvider("Hello", layers=[layer]).send_message(HI)
    await layer.close()
    assert len(lines_of(capsys)) == 2
    assert LOGGER.disabled


async def test_a_level_that_the_application_sets_meanwhile_stays(monkeypatch):
    monkeypatch.setattr(LOGGER, "level", LOGGER.level)
    layer = layer_of(log="json")
    LOGGER.setLevel(logging.ERROR)
    await layer.close()
    assert LOGGER.level == logging.ERROR
    LOGGER.setLevel(logging.NOTSET)


async def test_a_secret_in_a_tag_is_not_told(capsys):
    layer = layer_of(log="json")
    await ScriptedProvider("Hello", layers=[layer]).send_message(HI, tags={"user": KEY, "run": KEY})
    await layer.close()
    assert KEY not in str(lines_of(capsys))


@pytest.mark.usefixtures("no_settings", "no_credentials")
@pytest.mark.parametrize("form", ["json", "console"])
def test_the_command_line_logs_to_standard_error_and_leaves_standard_output_alone(form):
    command = [*CLI, "chat", "-p", "Say hello", f"telemetry={form}", "telemetry.exporter=none", "cassette=replay"]
    plain = subprocess.run([*CLI, "chat", "-p", "Say hello", "cassette=replay"], capture_output=True, text=True)
    logged = subprocess.run(command, capture_output=True, text=True)
    assert logged.stdout == plain.stdout
    assert logged.returncode == plain.returncode
    events = [line for line in logged.stderr.splitlines() if "call.started" in line or "call.ended" in line]
    assert len(events) == 2
    assert logged.stderr.count("replaying") == plain.stderr.count("replaying") == 1
    if form == "json":
        assert json.loads(events[0])["event"] == "call.started"


async def test_a_breaker_that_opens_and_a_budget_that_is_spent_are_told_by_the_whole_chain(capsys):
    clock = ManualClock()
    overrides = ["telemetry=json", "retry=off", "breaker.failures=1", "budget=standard", "cassette=live"]
    transport = FaultyTransport(lambda request: Reply(status=500), clock)

    async def ask(**more):
        with pytest.raises(ProviderError) as raised:
            await provider.send_message({**HI, **more})
        return raised.value.code

    async with AnthropicClaudeProvider(compose(overrides), clock=clock, transport=transport) as provider:
        codes = [await ask(), await ask(), await ask(model="claude-opus-4-8", max_tokens=128_000)]
    told = lines_of(capsys)
    assert codes == ["server_error", "circuit_open", "budget_exceeded"]
    assert [event["event"] for event in told] == [
        *("call.started", "breaker.changed", "call.ended"),
        *("call.started", "call.ended"),
        *("call.started", "budget.exceeded", "call.ended"),
    ]
    assert [event["error"] for event in told if event["event"] == "call.ended"] == codes
