"""What is recorded is replayed, the rest is sent, and joins it in the file."""

from __future__ import annotations

import json
from pathlib import Path

import httpx2

from claudeprov.cassette.extension import ExtendingTransport
from claudeprov.cassette.file import load
from claudeprov.cassette.interaction import interactions
from claudeprov.clock import SYSTEM_CLOCK

URL = "https://api.anthropic.com/v1/messages"


class Service:
    """Answers with the number of the request, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[object] = []

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.asked.append(json.loads(request.content))
        return httpx2.Response(200, stream=httpx2.ByteStream(f"answer {len(self.asked)}".encode()))


async def session(service: Service, path: Path, *asked: str) -> list[str]:
    transport = ExtendingTransport(path, httpx2.MockTransport(service), clock=SYSTEM_CLOCK, suite="chat")
    async with httpx2.AsyncClient(transport=transport) as client:
        answers = [(await client.post(URL, json={"model": "qwen", "q": text})).text for text in asked]
        assert transport.recorded == len(asked)
    return answers


def held(path: Path) -> list[tuple[str, str]]:
    return [(json.loads(item.request.body)["q"], item.body.decode()) for item in interactions(load(path))]


async def test_only_what_is_not_in_the_file_is_sent_and_added(tmp_path):
    service, path = Service(), tmp_path / "x.yaml"
    assert await session(service, path, "a", "b") == ["answer 1", "answer 2"]
    assert await session(service, path, "c", "a") == ["answer 3", "answer 1"]
    assert len(service.asked) == 3
    assert held(path) == [("a", "answer 1"), ("b", "answer 2"), ("c", "answer 3")]


async def test_a_request_that_is_asked_once_more_than_it_was_recorded_is_sent_once_more(tmp_path):
    service, path = Service(), tmp_path / "x.yaml"
    await session(service, path, "a")
    assert await session(service, path, "a", "a") == ["answer 1", "answer 2"]
    assert held(path) == [("a", "answer 1"), ("a", "answer 2")]


async def test_a_folder_is_extended_in_the_file_of_the_model(tmp_path):
    service = Service()
    await session(service, tmp_path, "a")
    assert await session(service, tmp_path, "a", "b") == ["answer 1", "answer 2"]
    assert held(tmp_path / "chat" / "qwen.yaml") == [("a", "answer 1"), ("b", "answer 2")]


async def test_nothing_new_leaves_the_file_as_it_is(tmp_path):
    service, path = Service(), tmp_path / "x.yaml"
    await session(service, path, "a")
    before = path.stat().st_mtime_ns
    await session(service, path, "a")
    assert path.stat().st_mtime_ns == before
