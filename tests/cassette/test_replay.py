from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import httpx2
import pytest
import vcr
from vcr.request import Request

from claudeprov.cassette.file import load, new_cassette, save
from claudeprov.cassette.replay import ReplayTransport
from claudeprov.errors import CassetteError, CassetteMissError

STREAM = "data: Grüße 🌍 \n\n\n"
URL = "https://api.anthropic.com/v1/messages"


class Waits:
    """A clock on which nothing takes longer than it is told to sleep."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    def now(self) -> datetime:
        return datetime(2026, 11, 22, tzinfo=UTC)

    def monotonic(self) -> float:
        return sum(self.slept)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


def details(chunks: str = "", **changed: object) -> dict[str, object]:
    return {
        "chunks": chunks,
        "times": " ".join(["0", *["0"] * len(chunks.split()), "0"]),
        "format": 1,
        "recorded_at": "2026-11-22T10:00:00Z",
        "server": "http://127.0.0.1:8085 (local)",
        "versions": {"claudeprov": "0.1.0"},
        "end": "complete",
        "model": "qwen",
        "suite": "code",
        **changed,
    }


def exchange(body: object, answer: str, kept: dict[str, object] | None = None, status: int = 200) -> dict[str, object]:
    response = {
        "status": {"code": status, "message": "OK"},
        "headers": {"content-type": ["text/event-stream"], "content-length": ["999"]},
        "body": {"string": answer},
    }
    request = {"method": "POST", "uri": URL, "headers": {}, "body": json.dumps(body)}
    return {"request": request, "response": response | ({"claudeprov": kept} if kept else {})}


def cassette(path: Path, *exchanges: object) -> Path:
    path.write_text(json.dumps({"version": 1, "interactions": exchanges}), encoding="utf-8")
    return path


def replay(*paths: Path, clock: Waits | None = None, speed: float = 0.0) -> ReplayTransport:
    return ReplayTransport([load(path) for path in paths], clock=clock or Waits(), speed=speed)


async def ask(client: httpx2.AsyncClient, body: object, url: str = URL) -> str:
    return (await client.post(url, json=body)).text


def asked(prompt: str = "Hi", **parameters: object) -> dict[str, object]:
    return {"model": "qwen", "max_tokens": 5, "messages": [{"role": "user", "content": prompt}], **parameters}


async def test_equal_requests_get_their_recordings_in_the_order_in_which_they_start(tmp_path):
    path = cassette(tmp_path / "x.yaml", *(exchange(asked(), f"answer {number}") for number in range(20)))
    async with httpx2.AsyncClient(transport=replay(path)) as client:
        answers = await asyncio.gather(*(ask(client, asked()) for _ in range(20)))
    assert answers == [f"answer {number}" for number in range(20)]


async def test_different_requests_may_come_in_any_order(tmp_path):
    path = cassette(tmp_path / "x.yaml", *(exchange(asked(prompt), f"to {prompt}") for prompt in "abc"))
    async with httpx2.AsyncClient(transport=replay(path)) as client:
        assert [await ask(client, asked(prompt)) for prompt in "cab"] == ["to c", "to a", "to b"]


async def test_all_cassettes_of_a_folder_answer_together(tmp_path):
    paths = [cassette(tmp_path / f"{prompt}.yaml", exchange(asked(prompt), f"to {prompt}")) for prompt in "ab"]
    transport = replay(*paths)
    async with httpx2.AsyncClient(transport=transport) as client:
        assert await ask(client, asked("b")) == "to b"
    assert (transport.played, len(transport.unplayed), transport.missed) == (1, 1, 0)


async def test_a_cassette_of_another_program_is_replayed_in_one_chunk(tmp_path):
    path = cassette(tmp_path / "x.yaml", exchange(asked(), "a: b\n\nc: d\n\n"))
    client = httpx2.AsyncClient(transport=replay(path, speed=1))
    async with client, client.stream("POST", URL, json=asked()) as response:
        assert [chunk async for chunk in response.aiter_raw()] == [b"a: b\n\nc: d\n\n"]


async def test_chunks_come_at_once_unless_a_pace_is_asked_for(tmp_path):
    kept = details(chunks="1 2", times="500000 1000000 3000000 500000")
    path = cassette(tmp_path / "x.yaml", exchange(asked(), "abb", kept))
    slept = {}
    for speed in (0, 1, 2):
        clock = Waits()
        async with httpx2.AsyncClient(transport=replay(path, clock=clock, speed=speed)) as client:
            assert await ask(client, asked()) == "abb"
        slept[speed] = clock.slept
    assert slept == {0: [], 1: [0.5, 1.0, 3.0, 0.5], 2: [0.25, 0.5, 1.5, 0.25]}


@pytest.mark.parametrize("name", ["ReadTimeout", "ReadError", "RemoteProtocolError", "ConnectTimeout"])
async def test_a_recorded_error_is_raised_again_by_its_class(tmp_path, name):
    path = cassette(tmp_path / "x.yaml", exchange(asked(), "a", details(end="broken", error=f"{name}: so", chunks="1")))
    async with httpx2.AsyncClient(transport=replay(path)) as client:
        with pytest.raises(getattr(httpx2, name), match=r"^so$"):
            await ask(client, asked())


@pytest.mark.parametrize("name", ["Client", "nothing", "HTTPStatusError", "__import__"])
async def test_only_errors_of_a_transport_are_raised_by_name(tmp_path, name):
    path = cassette(tmp_path / "x.yaml", exchange(asked(), "", details(end="broken", error=f"{name}: so")))
    async with httpx2.AsyncClient(transport=replay(path)) as client:
        with pytest.raises(CassetteError, match="is no error of httpx2: interaction 1"):
            await ask(client, asked())


async def miss(transport: ReplayTransport, body: object, url: str = URL) -> str:
    async with httpx2.AsyncClient(transport=transport) as client:
        with pytest.raises(CassetteMissError) as caught:
            await ask(client, body, url)
    assert transport.missed == 1
    return caught.value.message


async def test_a_miss_names_the_nearest_recording_the_first_differences_and_the_command(tmp_path):
    path = cassette(
        tmp_path / "x.yaml",
        exchange(asked("Write quicksort in Go."), "a", details(chunks="1")),
        exchange(asked("Write quicksort in Python."), "b", details(chunks="1")),
        exchange(asked("What is the weather?"), "c", details(chunks="1")),
    )
    message = await miss(replay(path), asked("Write quicksort in Python!", temperature=1, top_k=2, stop=3))
    assert message == (
        "this POST /v1/messages to qwen was not recorded: "
        f"the nearest is interaction 2 of {path}, which differs at $.messages[0].content: "
        'recorded "… quicksort in Python.", sent "… quicksort in Python!"; '
        "$.temperature: recorded nothing, sent 1; $.top_k: recorded nothing, sent 2; and at 1 more. "
        "To record it: claudeprov record suite=code model=qwen "
        "endpoint=compatible endpoint.base_url=http://127.0.0.1:8085"
    )


async def test_nobody_is_sent_to_a_local_server_for_another_model_than_it_has(tmp_path):
    path = cassette(tmp_path / "x.yaml", exchange(asked(), "a", details(chunks="1")))
    message = await miss(replay(path), asked(model="claude-haiku-5-5"))
    assert message.endswith("To record it: claudeprov record suite=code model=claude-haiku-5-5")


async def test_a_suite_that_is_not_packaged_is_recorded_from_its_file(tmp_path):
    path = cassette(tmp_path / "x.yaml", exchange(asked(), "a", details(chunks="1", suite="mine")))
    message = await miss(replay(path), asked("other"))
    assert f"claudeprov record suite.path=FILE cassette.path={path} model=qwen" in message


async def test_a_request_asked_more_often_than_it_was_recorded_is_a_miss(tmp_path):
    path = cassette(tmp_path / "x.yaml", exchange(asked(), "a"))
    transport = replay(path)
    async with httpx2.AsyncClient(transport=transport) as client:
        await ask(client, asked())
    message = await miss(transport, asked())
    assert f"it was recorded 1x, last as interaction 1 of {path}, and is asked for once more" in message
    assert f"cassette=record cassette.path={path} model=qwen" in message


async def test_a_miss_says_where_nothing_of_the_kind_was_recorded(tmp_path):
    path = cassette(tmp_path / "x.yaml", exchange(asked(), "a"))
    message = await miss(replay(path), asked(), "https://api.anthropic.com/v1/messages/count_tokens")
    assert "none of the 1 recordings is of POST /v1/messages/count_tokens" in message


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """A cassette written by claudeprov: a stream, and a request that got no answer."""
    cassette = new_cassette(tmp_path / "written.yaml")
    for prompt, status, body in (("Grüße 🌍", 200, STREAM), ("unanswered", 599, "")):
        request = Request("POST", URL, json.dumps(asked(prompt)).encode(), {"content-type": "application/json"})
        response = {
            "status": {"code": status, "message": "no answer"},
            "headers": {"content-type": ["text/event-stream"]},
            "claudeprov": details(chunks=str(len(body.encode()))) if body else details(end="cancelled", times="1"),
            "body": {"string": body.encode()},
        }
        cassette.append(request, response)
    save(cassette)
    return tmp_path / "written.yaml"


def test_plain_vcrpy_replays_what_claudeprov_wrote(written):
    with vcr.VCR(record_mode="none", match_on=["method", "uri", "body"]).use_cassette(str(written)) as played:
        with httpx2.Client() as client:
            assert client.post(URL, json=asked("Grüße 🌍")).text == STREAM
            assert client.post(URL, json=asked("unanswered")).status_code == 599
        assert played.all_played


def test_plain_pytest_recording_replays_what_claudeprov_wrote(tmp_path, written):
    folder = tmp_path / "cassettes" / "test_there"
    folder.mkdir(parents=True)
    (folder / "test_it.yaml").write_bytes(written.read_bytes())
    (tmp_path / "test_there.py").write_text(
        f"""
import httpx2, pytest

@pytest.mark.vcr
@pytest.mark.block_network
def test_it():
    with httpx2.Client() as client:
        assert client.post({URL!r}, json={asked("Grüße 🌍")!r}).content == {STREAM.encode()!r}
""",
        encoding="utf-8",
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "1 passed" in done.stdout, done.stdout
