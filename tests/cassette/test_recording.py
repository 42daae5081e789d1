from __future__ import annotations

import asyncio
import gzip
import json
import socket
from pathlib import Path

import anthropic
import httpx2
import pytest

from claudeprov.cassette import open_transport
from claudeprov.cassette.file import load
from claudeprov.cassette.interaction import Interaction, interactions
from claudeprov.clock import SYSTEM_CLOCK
from claudeprov.errors import CassetteError

EVENTS = [
    b'event: message_start\ndata: {"type":"message_start","message":{"id":"msg_1","model":"claude-served",'
    b'"role":"assistant","type":"message","content":[],"usage":{"input_tokens":3,"output_tokens":1}}}\n\n',
    b'event: content_block_start\ndata: {"type":"content_block_start","index":0,'
    b'"content_block":{"type":"text","text":""}}\n\n',
    'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,'
    '"delta":{"type":"text_delta","text":"Grüße 🌍"}}\n\n'.encode(),
    b'event: content_block_stop\ndata: {"type":"content_block_stop","index":0}\n\n',
    b'event: message_delta\ndata: {"type":"message_delta","delta":{"stop_reason":"end_turn"},'
    b'"usage":{"output_tokens":5}}\n\n',
    b'event: message_stop\ndata: {"type":"message_stop"}\n\n',
]
ASKED = {"model": "claude-asked", "max_tokens": 9, "stream": True, "messages": [{"role": "user", "content": "Hi"}]}


@pytest.fixture
def unused_tcp_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def recording(path: Path, suite: str | None = None) -> httpx2.AsyncClient:
    transport = open_transport("record", path, httpx2.AsyncHTTPTransport, clock=SYSTEM_CLOCK, suite=suite)
    return httpx2.AsyncClient(transport=transport)


def replaying(path: Path) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(transport=open_transport("replay", path, no_network, clock=SYSTEM_CLOCK))


def no_network() -> httpx2.AsyncBaseTransport:
    raise AssertionError("a replay must not make a transport")


def recorded(path: Path) -> list[Interaction]:
    return list(interactions(load(path)))


async def read(client, url: str, body: dict[str, object] = ASKED, keep: list[bytes] | None = None) -> list[bytes]:
    """The chunks of the answer; those of one that breaks are in *keep*."""
    chunks = [] if keep is None else keep
    async with client.stream("POST", f"{url}/v1/messages", json=body) as response:
        async for chunk in response.aiter_raw():
            chunks.append(chunk)
    return chunks


async def whole(answer) -> None:
    await answer.start()
    for event in EVENTS:
        await answer.send(event)
    await answer.end()


async def test_the_first_chunk_arrives_before_the_last_is_sent(serve, tmp_path):
    first_read = asyncio.Event()

    async def answer_slowly(answer):
        await answer.start()
        await answer.send(EVENTS[0])
        await first_read.wait()
        for event in EVENTS[1:]:
            await answer.send(event)
        await answer.end()

    url = await serve(answer_slowly)
    async with recording(tmp_path / "x.yaml") as client, client.stream("POST", url, json=ASKED) as response:
        chunks = response.aiter_raw()
        assert await anext(chunks) == EVENTS[0]
        first_read.set()
        rest = b"".join([chunk async for chunk in chunks])
    assert rest == b"".join(EVENTS[1:])


async def test_a_replay_gives_the_chunks_that_the_reader_got(serve, tmp_path):
    path = tmp_path / "x.yaml"
    url = await serve(whole)
    async with recording(path) as client:
        got = await read(client, url)
    async with replaying(path) as client:
        assert await read(client, "http://elsewhere.test") == got


async def test_the_details_say_when_where_and_how(serve, tmp_path):
    path = tmp_path / "x.yaml"
    url = await serve(whole)
    async with recording(path, suite="code") as client:
        client.headers.update({"anthropic-version": "2026-10-21", "x-stainless-package-version": "2.12.0"})
        got = await read(client, url)
    [interaction] = recorded(path)
    details = interaction.details
    assert details is not None
    assert (details.end, details.error, details.suite) == ("complete", None, "code")
    assert (details.model, details.served) == ("claude-asked", "claude-served")
    assert details.server == f"{url} (local)"
    assert details.versions.keys() == {"claudeprov", "anthropic", "api"}
    assert details.sizes == tuple(map(len, got))
    assert details.recorded_at.endswith("Z")


async def test_a_stream_that_breaks_breaks_again_at_the_same_byte_with_the_same_error(serve, tmp_path):
    async def break_off(answer):
        await answer.start()
        await answer.send(EVENTS[0])
        await answer.send(EVENTS[2][:100])

    async def read_until_it_breaks(client):
        chunks = []
        with pytest.raises(httpx2.RemoteProtocolError) as caught:
            await read(client, url, keep=chunks)
        return chunks, str(caught.value)

    path = tmp_path / "x.yaml"
    url = await serve(break_off)
    async with recording(path) as client:
        live = await read_until_it_breaks(client)
    async with replaying(path) as client:
        replayed = await read_until_it_breaks(client)
    assert live == replayed
    assert b"".join(live[0]) == EVENTS[0] + EVENTS[2][:100]
    assert recorded(path)[0].details.end == "broken"


async def test_a_break_within_a_character_keeps_its_bytes(serve, tmp_path):
    cut = EVENTS[2][: EVENTS[2].index("🌍".encode()) + 2]

    async def break_off(answer):
        await answer.start()
        await answer.send(cut)

    path = tmp_path / "x.yaml"
    url = await serve(break_off)
    async with recording(path) as client:
        with pytest.raises(httpx2.RemoteProtocolError):
            await read(client, url)
    assert recorded(path)[0].body == cut


async def test_a_refused_connection_is_recorded_and_fails_again(tmp_path, unused_tcp_port):
    path = tmp_path / "x.yaml"
    for open_client in (recording, replaying):
        async with open_client(path) as client:
            with pytest.raises(httpx2.ConnectError):
                await read(client, f"http://127.0.0.1:{unused_tcp_port}")
    [interaction] = recorded(path)
    assert (interaction.status, interaction.details.end) == (599, "unanswered")


async def test_an_error_that_is_none_of_httpx2_is_replayed_as_a_read_error(tmp_path):
    async def fail(_):
        raise OSError("no route")

    path = tmp_path / "x.yaml"
    transport = open_transport("record", path, lambda: httpx2.MockTransport(fail), clock=SYSTEM_CLOCK)
    async with httpx2.AsyncClient(transport=transport) as client:
        with pytest.raises(OSError, match="no route"):
            await read(client, "http://x.test")
    async with replaying(path) as client:
        with pytest.raises(httpx2.ReadError, match="no route"):
            await read(client, "http://x.test")


async def test_a_reader_that_leaves_early_makes_a_cancelled_recording(serve, tmp_path):
    async def answer_for_ever(answer):
        await answer.start()
        for event in EVENTS[:3]:
            await answer.send(event)
        await gone.wait()

    gone = asyncio.Event()
    path = tmp_path / "x.yaml"
    url = await serve(answer_for_ever)
    async with recording(path) as client:
        async with client.stream("POST", url, json=ASKED) as response:
            await anext(response.aiter_raw())
        gone.set()
    assert recorded(path)[0].details.end == "cancelled"
    async with replaying(path) as client, client.stream("POST", url, json=ASKED) as response:
        chunks = response.aiter_raw()
        assert (await anext(chunks)).startswith(b"event: message_start")
        with pytest.raises(CassetteError, match=r"its reader went away: interaction 1 of .*x\.yaml"):
            _ = [chunk async for chunk in chunks]


async def test_a_call_cancelled_before_its_answer_is_recorded_as_cancelled(serve, tmp_path):
    asked, gone = asyncio.Event(), asyncio.Event()

    async def never_answer(_):
        asked.set()
        await gone.wait()

    path = tmp_path / "x.yaml"
    url = await serve(never_answer)
    async with recording(path) as client:
        task = asyncio.create_task(read(client, url))
        await asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        gone.set()
    assert recorded(path)[0].details.end == "cancelled"
    async with replaying(path) as client:
        with pytest.raises(CassetteError, match="its reader went away"):
            await read(client, url)


async def test_a_reader_that_has_the_whole_message_need_not_wait_for_the_end_of_the_body(serve, tmp_path):
    read_all = asyncio.Event()

    async def linger(answer):
        await answer.start()
        await answer.send(b"".join(EVENTS))
        await read_all.wait()

    path = tmp_path / "x.yaml"
    url = await serve(linger)
    async with recording(path) as client:
        async with client.stream("POST", url, json=ASKED) as response:
            await anext(response.aiter_raw())
        read_all.set()
    assert recorded(path)[0].details.end == "complete"


async def test_gzip_is_undone_and_the_chunks_are_those_that_the_reader_got(serve, tmp_path):
    packed = gzip.compress(b"".join(EVENTS))

    async def answer_packed(answer):
        await answer.start(content_encoding="gzip")
        for start in range(0, len(packed), 50):
            await answer.send(packed[start : start + 50])
        await answer.end()

    path = tmp_path / "x.yaml"
    url = await serve(answer_packed)
    async with recording(path) as client:
        got = await read(client, url)
    [interaction] = recorded(path)
    assert interaction.body == b"".join(got) == b"".join(EVENTS)
    assert "content-encoding" not in dict(interaction.headers)
    async with replaying(path) as client:
        assert await read(client, url) == got


async def test_requests_keep_the_order_in_which_they_started(serve, tmp_path):
    first_asked, second_done = asyncio.Event(), asyncio.Event()

    async def answer_second_first(answer):
        await answer.start()
        if json.loads(answer.request_body)["max_tokens"] == 1:
            first_asked.set()
            await second_done.wait()
        await answer.send(b"".join(EVENTS))
        await answer.end()

    path = tmp_path / "x.yaml"
    url = await serve(answer_second_first)
    transport = open_transport("record", path, httpx2.AsyncHTTPTransport, clock=SYSTEM_CLOCK)
    async with httpx2.AsyncClient(transport=transport) as client:
        first = asyncio.create_task(read(client, url, ASKED | {"max_tokens": 1}))
        await first_asked.wait()
        await read(client, url, ASKED | {"max_tokens": 2})
        second_done.set()
        await first
        assert transport.recorded == 2
    assert [json.loads(item.request.body)["max_tokens"] for item in recorded(path)] == [1, 2]


async def test_into_a_folder_each_model_gets_a_file_of_its_suite(serve, tmp_path):
    url = await serve(whole)
    async with recording(tmp_path, suite="code") as client:
        await read(client, url, ASKED | {"model": "a"})
        await read(client, url, ASKED | {"model": "../b"})
    assert sorted(str(file.relative_to(tmp_path)) for file in tmp_path.rglob("*")) == [
        "code",
        "code/a.yaml",
        "code/b.yaml",
    ]


async def test_a_session_without_requests_writes_no_file(tmp_path):
    async with recording(tmp_path / "x.yaml"):
        pass
    assert list(tmp_path.iterdir()) == []


async def test_what_holds_a_secret_is_not_written(serve, tmp_path):
    url = await serve(whole)
    secret = "sk-" + "ant-" + "api03-abcdefghijklmnop"
    client = recording(tmp_path / "x.yaml")
    await read(client, url, ASKED | {"system": f"use {secret}"})
    with pytest.raises(CassetteError, match=r"request body at \$\.system") as caught:
        await client.aclose()
    assert secret not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


async def test_a_credential_that_the_answer_echoes_is_not_written(serve, tmp_path):
    url = await serve(whole)
    client = recording(tmp_path / "x.yaml")
    client.headers["authorization"] = "Bearer message_start"  # which every stream holds
    await read(client, url, ASKED)
    with pytest.raises(CassetteError, match="holds the credential that was sent"):
        await client.aclose()
    assert list(tmp_path.iterdir()) == []


async def test_under_the_sdk_a_message_is_recorded_without_its_key_and_replayed_without_one(serve, tmp_path):
    key = "local-" + "key"
    path = tmp_path / "x.yaml"
    url = await serve(whole)
    messages = []
    for open_client, api_key in ((recording, key), (replaying, "another")):
        async with (
            anthropic.AsyncAnthropic(base_url=url, http_client=open_client(path), api_key=api_key) as client,
            client.messages.stream(
                model="claude-asked", max_tokens=9, messages=[{"role": "user", "content": "Hi"}]
            ) as stream,
        ):
            messages.append((await stream.get_final_message()).to_dict())
    assert messages[0] == messages[1]
    assert messages[0]["content"][0]["text"] == "Grüße 🌍"
    text = path.read_text(encoding="utf-8")
    assert key not in text
    assert "authorization" not in text.lower()


@pytest.mark.parametrize("place", ["file/x.yaml", "file/deep/x.yaml", "file/deep"])
async def test_a_place_that_cannot_be_written_to_is_refused_before_anything_is_sent(tmp_path, place):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(CassetteError, match="nothing can be recorded into"):
        recording(tmp_path / place)


async def test_a_disk_that_fails_is_told_by_an_error_of_ours(serve, tmp_path):
    url = await serve(whole)
    client = recording(tmp_path / "later" / "x.yaml")
    await read(client, url, ASKED)
    (tmp_path / "later").write_text("no folder any more")
    with pytest.raises(CassetteError, match="cannot be written"):
        await client.aclose()
