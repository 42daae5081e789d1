from __future__ import annotations

import base64
import gzip
import json
import os
import threading
import zlib
from contextlib import suppress
from pathlib import Path

import pytest
from vcr.request import Request

from claudeprov.cassette import file
from claudeprov.cassette.file import files_below, load, new_cassette, save
from claudeprov.errors import CassetteError

HEAD = "version: 1\ninteractions:\n- request: {method: GET, uri: 'http://x', headers: {}, body: null}\n  response:\n"
ANSWER = "    status: {code: 200, message: OK}\n    headers: {}\n"


def written(path: Path, body: bytes = b"data: 1\n\n", count: int = 1) -> Path:
    cassette = new_cassette(path)
    for number in range(count):
        request = Request("POST", "http://x/v1/messages", b'{"b": %d, "a": [1]}' % number, {})
        response = {"status": {"code": 200, "message": "OK"}, "headers": {}, "body": {"string": body}}
        cassette.append(request, response)
    save(cassette)
    return path


def refused(tmp_path: Path, text: str | bytes) -> str:
    path = tmp_path / "x.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(CassetteError) as caught:
        load(path)
    assert caught.value.message.startswith(f"{path} is no cassette: ")
    return caught.value.message


def test_a_request_is_written_as_indented_json_with_sorted_keys(tmp_path):
    text = written(tmp_path / "x.yaml").read_text(encoding="utf-8")
    assert '    body: |-\n      {\n        "a": [\n          1\n        ],\n        "b": 0\n      }\n' in text


def test_a_stream_is_written_line_by_line_with_its_emoji(tmp_path):
    text = written(tmp_path / "x.yaml", 'event: e\ndata: {"a": "🌍\t"} \n\n'.encode()).read_text(encoding="utf-8")
    assert '      string: |+\n        event: e\n        data: {"a": "🌍\t"} \n\n' in text


def test_writing_twice_gives_the_same_bytes(tmp_path):
    first, second = (written(tmp_path / name, count=3).read_bytes() for name in ("a.yaml", "b.yaml"))
    assert first == second


def test_what_was_loaded_is_written_as_it_was(tmp_path):
    path = written(tmp_path / "x.yaml", count=3)
    before = path.read_bytes()
    save(load(path))
    assert path.read_bytes() == before


def test_several_writers_leave_one_whole_file_and_nothing_else(tmp_path):
    path = tmp_path / "x.yaml"
    writers = [threading.Thread(target=written, args=(path, b"data: x\n\n" * size, size)) for size in range(1, 9)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert len(load(path)) in range(1, 9)
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = written(tmp_path / "x.yaml")
    before = path.read_bytes()

    def fail(*_: object) -> None:
        raise OSError("no space")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="no space"):
        written(path, count=2)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(CassetteError, match=r"cannot read the cassette .*none\.yaml: No such file"):
        load(tmp_path / "none.yaml")


def test_a_folder_without_cassettes_is_named(tmp_path):
    with pytest.raises(CassetteError, match="there is no cassette below"):
        files_below(tmp_path)


def test_nothing_in_a_file_is_executed(tmp_path):
    target = tmp_path / "executed"
    message = refused(tmp_path, HEAD + ANSWER + f"    body: !!python/object/apply:os.mkdir ['{target}']\n")
    assert "line 7: values of the type tag:yaml.org,2002:python/object/apply:os.mkdir are not read" in message
    assert not target.exists()


@pytest.mark.parametrize("nest", ["[", "- ", "{a: "])
def test_deep_nesting_is_refused_before_it_exhausts_the_stack(tmp_path, nest):
    assert "nested deeper than 32 levels" in refused(tmp_path, "interactions: " * (nest != "- ") + nest * 100_000)


@pytest.mark.parametrize(
    "bomb",
    [
        "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 60)),
        "".join(f"a{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}]}}\n" for n in range(1, 60)),
        f"b: &b {'x' * 1_000_000}\nc: [{'*b,' * 1000}]\n",
        f"c: [{'[],' * 600_000}]\n",
    ],
)
def test_a_bomb_is_refused_without_unfolding_it(tmp_path, bomb):
    message = refused(tmp_path, f"a0: &a0 {{x: x}}\n{bomb}interactions: []\n")
    assert "holds more than 500000 values or 268435456 characters, with its aliases unfolded" in message


def test_an_alias_that_stays_small_is_read(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text(HEAD + ANSWER.replace("{}", "&empty {}") + "    body: *empty\n", encoding="utf-8")
    assert len(load(path)) == 1


def test_a_number_that_takes_long_to_read_is_refused(tmp_path):
    assert "line 1: a number of 2000001 characters" in refused(tmp_path, f"version: 1{':1' * 1_000_000}\n")


def test_a_file_of_a_gigabyte_is_refused_unread(tmp_path, monkeypatch):
    with (tmp_path / "x.yaml").open("wb") as sparse:
        sparse.truncate(1_000_000_000)
    with pytest.raises(CassetteError, match="it has 1000000000 bytes; the most that is read is 67108864"):
        load(tmp_path / "x.yaml")


def test_a_file_that_grows_while_it_is_read_is_read_no_further(tmp_path, monkeypatch):
    path = written(tmp_path / "x.yaml")
    status = os.stat_result((*os.stat(path)[:6], 10, *os.stat(path)[7:]))
    monkeypatch.setattr(os, "fstat", lambda _: status)
    monkeypatch.setattr("claudeprov.cassette.file.MAX_BYTES", 20)
    with pytest.raises(CassetteError, match="is no cassette"):
        load(path)


def test_what_would_be_too_large_to_be_read_is_not_written(tmp_path, monkeypatch):
    monkeypatch.setattr("claudeprov.cassette.file.MAX_BYTES", 100)
    with pytest.raises(CassetteError, match=r"was not written: it would have \d+ bytes, the most is 100"):
        written(tmp_path / "x.yaml")
    assert list(tmp_path.iterdir()) == []


def test_a_pipe_that_nobody_writes_to_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "x.yaml")
    with pytest.raises(CassetteError, match="it is no regular file"):
        load(tmp_path / "x.yaml")


@pytest.mark.parametrize("device", ["/dev/zero", "/dev/null"])
def test_a_device_is_refused(device):
    with pytest.raises(CassetteError, match="it is no regular file"):
        load(Path(device))


def test_a_truncated_file_is_refused_or_read_as_far_as_whole_interactions_go(tmp_path):
    whole = written(tmp_path / "whole.yaml", count=2).read_bytes()
    for end in range(0, len(whole), 7):
        (tmp_path / "x.yaml").write_bytes(whole[:end])
        with suppress(CassetteError):
            assert len(load(tmp_path / "x.yaml")) <= 2


def test_the_message_of_a_hostile_file_is_short(tmp_path):
    assert len(refused(tmp_path, HEAD.replace("method", "m" * 100_000))) < 700


def test_a_cassette_can_be_saved_again(tmp_path):
    cassette = load(written(tmp_path / "x.yaml"))
    save(cassette)
    save(cassette)
    assert [response["body"]["string"] for response in cassette.responses] == [b"data: 1\n\n"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "Expected `object`, got `null`"),
        ("just text", "Expected `object`, got `str`"),
        ("version: 1", "missing required field `interactions`"),
        ("interactions: 3", "Expected `array`, got `int` - at `$.interactions`"),
        ("version: 2\ninteractions: []", "version is 2"),
        (HEAD + "    status: {code: OK}\n    headers: {}\n    body: {}", "at `$.interactions[0].response.status.code`"),
        (HEAD + "    status: {code: 200}\n    headers: []\n    body: {}", "at `$.interactions[0].response.headers`"),
        (HEAD.replace("{}", "{a: []}") + ANSWER + "    body: {}", "Expected `array` of length >= 1"),
        (HEAD + ANSWER + "    body: {string: [a]}", "interaction 1: response.body.string is list; text is needed"),
        (HEAD + ANSWER + "    body: {string: 'unclosed", "found unexpected end of stream"),
        (HEAD + ANSWER + "    body: {}\n    claudeprov: {format: 1}", "missing required field `recorded_at`"),
        (b"\xff\xfe\x00", "codec can't decode"),
    ],
)
def test_what_is_no_cassette_is_refused_with_what_and_where(tmp_path, text, problem):
    assert problem in refused(tmp_path, text)


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"format": 2}, "claudeprov.format is 2; this version reads 1"),
        ({"recorded_at": "yesterday"}, "claudeprov.recorded_at is 'yesterday'; RFC 3339 is needed"),
        ({"recorded_at": "2026-11-22T10:00:00"}, "RFC 3339 is needed"),
        ({"chunks": "1"}, "claudeprov.chunks add up to 1 bytes, the body has 3"),
        ({"chunks": "4 -1"}, "claudeprov.chunks add up to"),
        ({"chunks": "a"}, "must be whole numbers"),
        ({"times": "1 2"}, "claudeprov.times has 2 entries for 1 chunks; 3 are needed"),
        ({"end": "broken"}, "claudeprov.end is broken and claudeprov.error is missing"),
        ({"error": "ReadError: x"}, "claudeprov.end is complete and claudeprov.error is given"),
        ({"end": "never"}, "Invalid enum value 'never'"),
    ],
)
def test_details_that_do_not_fit_the_body_are_refused(tmp_path, changed, problem):
    details = {
        "format": 1,
        "recorded_at": "2026-11-22T10:00:00Z",
        "server": "https://api.anthropic.com",
        "versions": {},
        "end": "complete",
        "chunks": "3",
        "times": "1 2 3",
    }
    fine = HEAD + ANSWER + "    body: {string: abc}\n    claudeprov: "
    (tmp_path / "fine.yaml").write_text(fine + json.dumps(details), encoding="utf-8")
    assert len(load(tmp_path / "fine.yaml")) == 1
    assert problem in refused(tmp_path, fine + json.dumps(details | changed))


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", gzip.compress(b"a" * 2000)),
        ("deflate", zlib.compress(b"a" * 2000)),
        ("deflate", zlib.compress(b"a" * 2000)[2:-4]),
        ("gzip", b"no gzip"),
    ],
)
def test_a_body_that_would_fill_the_memory_or_is_not_what_it_says_is_refused(tmp_path, monkeypatch, encoding, body):
    monkeypatch.setattr(file, "MAX_BYTES", 1500)
    text = base64.b64encode(body).decode()
    path = tmp_path / "x.yaml"
    path.write_text(
        "version: 1\ninteractions:\n- request: {method: GET, uri: 'http://a/', headers: {}, body: null}\n"
        f"  response: {{status: {{code: 200, message: OK}}, headers: {{content-encoding: [{encoding}]}}, "
        f"body: {{string: !!binary {text}}}}}\n"
    )
    with pytest.raises(CassetteError, match=f"a body is no {encoding}, as its headers say, or one of more than"):
        load(path)
