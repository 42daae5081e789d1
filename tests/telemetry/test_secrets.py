"""Secrets are planted wherever one may be, and looked for in all that is told of the calls that met them."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import threading
import traceback
import urllib.request
from collections.abc import Awaitable, Callable, Iterator, Mapping
from functools import lru_cache
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import structlog

import claudeprov
from claudeprov.compose import compose
from claudeprov.errors import ProviderError
from claudeprov.provider import AnthropicClaudeProvider
from claudeprov.telemetry import exporter as exporters
from tests.server import Answer, Asked, Server
from tests.test_anthropic import sse
from tests.tools.answers import answer, call, thinking

pytestmark = pytest.mark.usefixtures("no_settings", "no_credentials")


def key(mark: str) -> str:
    """A key of its own, which looks like one of Anthropic's."""
    return "sk-" + f"ant-api03-{mark}Zk8Qw3Rt7Yp1Lm5Nx9"


PLANTED = {
    "the credential, of no known shape": "local" + "-Zk8Qw3Rt7Yp1Lm5Nx9Vb2",
    "a password of the environment": "hunter" + "-Zq4Ws7Ed1Rf8Tg3",
    "a JSON web token": "ey" + "JhbGciOiJIUzI1NiJ9." + "ey" + "JzdWIiOiIxMjM0In0." + "Zk8Qw3Rt7Yp1Lm5Nx9",
    "a GitHub token": "github" + "_pat_" + "11Zk8Qw3Rt7Yp1Lm5Nx9Vb2Zk8Qw3",
    "a Google token": "ya29" + "." + "Zk8Qw3Rt7Yp1Lm5Nx9Vb2Zk8",
    "a private key": "Zk8Qw3Rt7Yp1Lm5Nx9" + "MIIEow",
    "a word in a query": "plain" + "-letters-of-a-query",
    "a login": "dXNlcjpw" + "YXNzd29yZDEyMw==",
    **{
        place: key(place.replace(" ", "-"))
        for place in (
            *("prompt", "system", "metadata", "answer", "thinking", "arguments", "result", "tool failure"),
            *("tag", "run", "request id", "model", "tool name", "bytes", "set", "exception"),
            *("header", "error message", "error type", "error in a stream", "path", "custom header"),
        )
    },
}
CREDENTIAL, PASSWORD = list(PLANTED.values())[:2]
REQUEST = {
    "system": f"You know {PLANTED['system']}.",
    "messages": [{"role": "user", "content": f"My key is {PLANTED['prompt']}."}],
    "max_tokens": 100,
    "metadata": {"user_id": PLANTED["metadata"]},
}
TAGS = {
    "run": PLANTED["run"],
    "task": PASSWORD,
    "user": PLANTED["tag"],
    "token": PLANTED["a JSON web token"],
    "pat": PLANTED["a GitHub token"],
    "access": f"goog-{PLANTED['a Google token']}",
    "pem": f"-----BEGIN RSA PRIVATE KEY-----\n{PLANTED['a private key']}\n-----END RSA PRIVATE KEY-----",
    "url": f"https://host/?api_key={PLANTED['a word in a query']}&page=2",
    "header": f"authorization: basic {PLANTED['a login']}",
    "bytes": PLANTED["bytes"].encode(),
    "set": {PLANTED["set"]},
    "exception": ValueError(PLANTED["exception"]),
}
HEAD = {"request-id": PLANTED["request id"], "x-note": PLANTED["header"]}
Told = Callable[..., Awaitable[Mapping[str, str]]]
PLAIN = "nothing to hide"


def failure(status: int, asked: Asked) -> Answer:
    """An error that quotes the request, its headers and more."""
    message = f"{PLANTED['error message']} at {asked.path} with {asked.headers} for {json.dumps(asked.body)}"
    body = {"type": "error", "error": {"type": f"odd_{PLANTED['error type']}", "message": message}}
    return Answer(json.dumps(body).encode(), status, {"content-type": "application/json", **HEAD})


def replies() -> Iterator[object]:
    """What the service answers, one after the other; a status is that of a failure."""
    text = {"type": "text", "text": ""}
    says = {"type": "text_delta", "text": f"{PLAIN} but {PLANTED['answer']}"}
    yield from (500, 529)
    yield answer(
        thinking(PLANTED["thinking"], "a signature"),
        call("toolu_1", "look", {"at": PLANTED["arguments"]}),
        call("toolu_2", "fail"),
        call("toolu_3", PLANTED["tool name"]),
    )
    yield answer([text, says], stop="end_turn")
    yield 400
    error = {"type": "error", "error": {"type": "overloaded_error", "message": PLANTED["error in a stream"]}}
    yield [*answer([text, says], stop="end_turn")[:3], error]
    yield 401


async def look(at: str) -> str:
    """Look."""
    return f"{at} and {PLANTED['result']} and {PASSWORD}"


async def fail() -> str:
    """Fail."""
    raise ValueError(f"cannot take {PLANTED['tool failure']} or {CREDENTIAL}")


class Collector:
    """Takes whatever is sent to it by OTLP, byte by byte."""

    def __init__(self) -> None:
        self.got: list[bytes] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                outer.got.append(gzip.decompress(body) if self.headers.get("content-encoding") == "gzip" else body)
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def collector() -> Iterator[Collector]:
    collector = Collector()
    yield collector
    collector.server.shutdown()
    collector.server.server_close()


@pytest.fixture
def told(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
    collector: Collector,
    tmp_path: Path,
) -> Told:
    """Makes all calls under some configuration of telemetry, and gives what was told, by where."""
    monkeypatch.setenv("ANTHROPIC_API_KEY", CREDENTIAL)
    monkeypatch.setenv("ANTHROPIC_CUSTOM_HEADERS", f"x-custom: {PLANTED['custom header']}")
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", f"authorization=Bearer {CREDENTIAL}")

    async def make_calls(*overrides: str) -> Mapping[str, str]:
        answers = replies()

        def choose(asked: Asked) -> Answer:
            reply = next(answers)
            return failure(reply, asked) if isinstance(reply, int) else Answer(sse(*reply), headers=HEAD)  # type: ignore[misc]

        outputs: dict[str, list[str]] = {name: [] for name in ("notices", "errors", "scraped", "bound")}
        async with Server() as server:
            server.choose = choose
            settings = compose(
                [
                    *("endpoint=compatible", f"endpoint.base_url={server.url}/{PLANTED['path']}"),
                    *("retry.base=0.001", "retry.overloaded_base=0.001", "ledger=sqlite", f"runs_dir={tmp_path}/runs"),
                    *(f"telemetry.endpoint={collector.url}", "telemetry.port=0", *overrides),
                ]
            )
            provider = AnthropicClaudeProvider(settings)
            provider.notices.listen(lambda notice: outputs["notices"].append(repr(notice)))
            async with provider:
                tools = [claudeprov.tool(look), claudeprov.tool(fail)]
                run = provider.run_tools(REQUEST, tools, tags=TAGS)
                async for _ in run:
                    outputs["bound"].append(repr(structlog.contextvars.get_contextvars()))
                for model in ({}, {"model": PASSWORD}, {"model": f"m-{PLANTED['model']}"}):
                    try:
                        await provider.send_message(REQUEST | model, tags=TAGS)
                    except ProviderError as error:
                        outputs["errors"] += [str(error), repr(error), repr(error.context)]
                        outputs["errors"] += traceback.format_exception(error)
                for exporting in exporters._OPEN.values():
                    if exporting.url:
                        outputs["scraped"].append(await asyncio.to_thread(read, exporting.url))
        assert len(outputs["errors"]) > 9
        records = [record for record in caplog.records if record.name.startswith("claudeprov")]
        outputs["log records"] = [f"{record.getMessage()} {record.exc_text}" for record in records]
        outputs["standard streams"] = list(capsys.readouterr())
        outputs["collected"] = [body.decode("latin-1") for body in collector.got]
        files = [file for file in (tmp_path / "runs").rglob("*") if file.is_file()]
        outputs["ledger"] = [file.read_bytes().decode("latin-1") for file in files]
        return {name: "\n".join(texts) for name, texts in outputs.items()}

    return make_calls


def read(url: str) -> str:
    """The page at *url*."""
    with urllib.request.urlopen(url) as page:
        text: str = page.read().decode()
    return text


def found_in(told: Mapping[str, str]) -> list[str]:
    """Which secrets stand where."""
    return [f"{what} in {where}" for where, text in told.items() for what, secret in PLANTED.items() if secret in text]


@pytest.mark.parametrize("content", ["false", "true"])
@pytest.mark.parametrize(
    ("exporter", "log", "where"),
    [
        ("none", "host", ["log records"]),
        ("console", "console", ["standard streams"]),
        ("otlp", "json", ["collected", "standard streams"]),
        ("prometheus", "json", ["scraped", "standard streams"]),
    ],
)
async def test_no_secret_is_told_of_anywhere(
    told: Told, caplog: pytest.LogCaptureFixture, exporter: str, log: str, where: list[str], content: str
) -> None:
    caplog.set_level(logging.INFO, logger="claudeprov")
    outputs = dict(await told(f"telemetry.exporter={exporter}", f"telemetry.log={log}", f"telemetry.content={content}"))
    for name in [*where, "notices", "errors", "ledger", "bound"]:
        assert outputs[name], name
    if content == "true":
        assert PLAIN in "".join(outputs[name] for name in where)
        del outputs["notices"]  # what tools get and return is masked by whoever tells of it
    # What is kept here, and handed to listeners of this process, is masked by its looks alone.
    outside = {f"a password of the environment in {where}" for where in ("notices", "ledger")}
    assert set(found_in(outputs)) <= outside


@pytest.mark.parametrize(("exporter", "where"), [("console", "standard streams"), ("otlp", "collected")])
async def test_what_is_not_masked_would_be_found(
    told: Told, monkeypatch: pytest.MonkeyPatch, exporter: str, where: str
) -> None:
    monkeypatch.setattr("claudeprov.telemetry.scrub._remembered", lru_cache(maxsize=0)(str))
    monkeypatch.setattr("claudeprov.mask._MARKS", ())
    monkeypatch.setattr("claudeprov.secret._RULES", ())
    monkeypatch.setattr("claudeprov.secret._kind_of_run", lambda run: None)
    outputs = await told(f"telemetry.exporter={exporter}", "telemetry.log=host", "telemetry.content=true")
    found = set(found_in(outputs))
    shapes = ("a JSON web token", "a GitHub token", "a Google token", "a private key", "a word in a query", "a login")
    others = ("prompt", "answer", "arguments", "result", "tag", "bytes", "set", "exception", "model", "tool name")
    assert {f"{what} in {where}" for what in (*shapes, *others)} <= found
    assert {"error message in errors", "tag in ledger"} <= found
