"""What is entered of each call, when, and what does not happen to calls because of it."""

from __future__ import annotations

import asyncio
import math

import pytest

from claudeprov.errors import CircuitOpenError, OverloadedError, ServerError
from claudeprov.ledger.outbox import Outbox
from claudeprov.ledger.store import store_of
from claudeprov.middleware.ledger import Ledger
from claudeprov.notice import Notices
from claudeprov.settings.ledger import LedgerSettings
from claudeprov.testing import ManualClock, ScriptedProvider, check_middleware, text_events
from claudeprov.testing.clock import settle
from tests.ledger.rows import ledger

HI = {"messages": [{"role": "user", "content": "Hi"}], "model": "claude-haiku-4-5"}


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def notices(clock):
    return Notices(clock)


@pytest.fixture
def box(tmp_path):
    store, base = store_of(LedgerSettings(path=str(tmp_path / "ledger.db")), "")
    box = Outbox(store, base)
    yield box
    box.close()


@pytest.fixture
def entered(box, tmp_path):
    """The rows, when all has been moved."""

    def rows():
        box.close()
        store = ledger(tmp_path / "ledger.db")
        found = list(store.rows())
        store.close()
        return found

    return rows


@pytest.fixture
def layer(box, notices):
    return Ledger(box, notices=notices)


async def test_keeps_the_contract(box, notices, clock):
    await check_middleware(lambda: Ledger(box, notices=notices), clock=clock)


async def test_a_call_is_entered_with_its_tags_usage_cost_and_times(layer, clock, entered):
    start, *rest = text_events("a", "b", model="claude-haiku-4-5-20251001")
    provider = ScriptedProvider([2, start, 3, *rest], layers=[layer], clock=clock)
    await clock.run(provider.send_message(HI, tags={"run": "r", "suite": "s", "task": "t", "user": "me"}))
    (row,) = entered()
    assert (row.run, row.suite, row.task, row.tags) == ("r", "s", "t", {"user": "me"})
    assert (row.model, row.served) == ("claude-haiku-4-5", "claude-haiku-4-5-20251001")
    assert (row.end, row.error, row.attempts, row.stop_reason) == ("read", None, 1, "end_turn")
    assert (row.input_tokens, row.output_tokens, f"{row.cost_usd:f}") == (1, 2, "0.000011000000000")
    assert (row.first_chunk, row.total, row.replayed) == (2, 5, False)
    assert row.started_at == clock.now().replace(second=row.started_at.second)


async def test_the_row_is_with_the_system_before_the_reader_learns_of_the_end(layer, tmp_path, monkeypatch):
    monkeypatch.setattr(Outbox, "_run", lambda self: None)
    async with ScriptedProvider("Hello", layers=[layer]).send_message(HI) as stream:
        async for _ in stream:
            assert list(tmp_path.glob("*.outbox-*")) == []
        (journal,) = tmp_path.glob("*.outbox-*")
        assert stream._call.id in journal.read_text()


@pytest.mark.parametrize(
    ("answer", "end", "error"),
    [
        (OverloadedError("529"), "failed", "overloaded"),
        (CircuitOpenError("open"), "failed", "circuit_open"),
        ([*text_events("Hel")[:3], ServerError("broken off")], "failed", "server_error"),
    ],
    ids=["refused", "not sent", "broken"],
)
async def test_a_failure_is_entered_with_its_code(layer, entered, answer, end, error):
    with pytest.raises(type(answer) if isinstance(answer, Exception) else ServerError):
        await ScriptedProvider(answer, layers=[layer]).send_message(HI)
    (row,) = entered()
    assert (row.end, row.error) == (end, error)


async def test_a_call_that_is_cancelled_while_it_opens_is_entered(layer, clock, entered):
    task = asyncio.ensure_future(ScriptedProvider([math.inf, "x"], layers=[layer], clock=clock).send_message(HI))
    await settle()
    task.cancel()
    await settle()
    (row,) = entered()
    assert (row.end, row.cost_usd) == ("cancelled", None)


async def test_a_stream_that_is_left_early_is_entered_as_cancelled(layer, entered):
    async with ScriptedProvider(text_events("a", "b"), layers=[layer]).send_message(HI) as stream:
        async for _ in stream:
            break
    (row,) = entered()
    assert row.end == "cancelled"


async def test_the_model_asked_for_is_the_users_whatever_a_layer_makes_of_it(layer, entered):
    async def replace(call, call_next):
        call.request = call.request.model_copy(update={"model": "claude-sonnet-4-5"})
        return await call_next(call)

    await ScriptedProvider(text_events("a", model="claude-sonnet-4-5"), layers=[layer, replace]).send_message(HI)
    (row,) = entered()
    assert (row.model, row.served) == ("claude-haiku-4-5", "claude-sonnet-4-5")


async def test_a_replay_is_entered_as_one(box, notices, entered):
    await ScriptedProvider("Hello", layers=[Ledger(box, notices=notices, replayed=True)]).send_message(HI)
    assert [row.replayed for row in entered()] == [True]


async def test_a_row_that_cannot_be_written_costs_no_answer_and_is_told(layer, notices, box, monkeypatch, caplog):
    def full(row):
        raise OSError("no space left")

    told = []
    notices.listen(told.append)
    monkeypatch.setattr(box, "put", full)
    response = await ScriptedProvider("Hello", layers=[layer]).send_message(HI)
    assert response.text == "Hello"
    assert [(notice.name, dict(notice.fields)) for notice in told] == [("ledger.lost", {"reason": "no space left"})]
    assert "could be written" in caplog.text


async def test_a_failure_stays_what_it_was_where_no_row_can_be_written(layer, box, monkeypatch, caplog):
    monkeypatch.setattr(box, "put", lambda row: 1 / 0)
    with pytest.raises(OverloadedError):
        await ScriptedProvider(OverloadedError("529"), layers=[layer]).send_message(HI)


async def test_rows_that_wait_are_told_once_and_so_is_that_they_move_again(layer, notices, box):
    told = []
    notices.listen(told.append)
    provider = ScriptedProvider("Hello", layers=[layer])
    for trouble in (None, "connection refused", "connection refused", None, None):
        box.trouble = trouble
        await provider.send_message(HI)
    assert [(notice.name, notice.fields["reason"]) for notice in told] == [
        ("ledger.behind", "connection refused"),
        ("ledger.behind", None),
    ]


async def test_closing_the_layer_moves_what_there_is(layer, tmp_path):
    await ScriptedProvider("Hello", layers=[layer]).send_message(HI)
    await layer.close()
    store = ledger(tmp_path / "ledger.db")
    assert len(list(store.rows())) == 1
    store.close()
