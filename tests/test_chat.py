"""``claudeprov chat``, against a server on loopback and, where Ctrl-C and colours matter, on a real terminal."""

import io
import json
import os
import pty
import re
import select
import subprocess
import sys
import threading
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from claudeprov.commands import main

PATIENCE = 60
"""Seconds after which a test gives up on what it waits for."""
USAGE = {"input_tokens": 9, "output_tokens": 1, "cache_read_input_tokens": 1200}


def sse(*events):
    return b"".join(
        b"event: %s\ndata: %s\n\n" % (event["type"].encode(), json.dumps(event).encode()) for event in events
    )


def start(model="claude-haiku-5-5"):
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": model, "content": []}
    return {"type": "message_start", "message": message | {"stop_reason": None, "usage": USAGE}}


def block(index, block_type, *deltas):
    """The events of a block: its deltas are (name, value) pairs."""
    name = "thinking" if block_type == "thinking" else "text"
    yield {"type": "content_block_start", "index": index, "content_block": {"type": block_type, name: ""}}
    for kind, value in deltas:
        yield {"type": "content_block_delta", "index": index, "delta": {"type": f"{kind}_delta", kind: value}}
    yield {"type": "content_block_stop", "index": index}


def end(stop_reason="end_turn", **delta):
    delta = {"stop_reason": stop_reason, "stop_sequence": None} | delta
    yield {"type": "message_delta", "delta": delta, "usage": {"output_tokens": 7}}
    yield {"type": "message_stop"}


def answer(text, *ending, model="claude-haiku-5-5", **delta):
    return sse(start(model), *block(0, "text", ("text", text)), *end(*ending, **delta))


def beginning(text):
    """An answer up to the middle of its text."""
    return sse(start(), *list(block(0, "text", ("text", text)))[:-1])


THOUGHTFUL = sse(
    start(),
    *block(0, "thinking", ("thinking", "Hm"), ("thinking", "m."), ("signature", "c2ln")),
    *block(1, "text", ("text", "It is "), ("text", "4.")),
    *end(),
)
CTRL_C, CTRL_D = "\x03", "\x04"
HANG = object()
"""Keeps the connection open after the body before it, until the client closes it."""


class Server:
    """Answers each request with the next script: bodies, HANG, or a status with an error's type."""

    def __init__(self):
        self.scripts = []
        self.requests = []
        self.arrivals = threading.Semaphore(0)
        self.client_left = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                outer.requests.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
                outer.arrivals.release()
                script = outer.scripts.pop(0)
                if isinstance(script[0], int):
                    self._send_error(*script)
                else:
                    self._send_stream(script)

            def _send_error(self, status, kind):
                body = json.dumps({"type": "error", "error": {"type": kind, "message": "not \x1b[31mtoday"}}).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def _send_stream(self, script):
                self.close_connection = True
                self.send_response(200)
                self.send_header("content-type", "text/event-stream")
                self.send_header("connection", "close")
                self.end_headers()
                for body in script:
                    if body is not HANG:
                        self.wfile.write(body)
                    elif self.rfile.read(1) == b"":
                        outer.client_left.set()

            def log_message(self, *args):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.words = [
            "endpoint=compatible",
            f"endpoint.base_url=http://127.0.0.1:{self.http.server_address[1]}",
            "model=haiku",
            "cassette=live",
            "retry=off",
        ]

    def wait_for_requests(self, number):
        """Wait until that many requests have come, from the first on."""
        return all(self.arrivals.acquire(timeout=PATIENCE) for _ in range(number))

    def will(self, *scripts):
        self.scripts = [script if isinstance(script, tuple) else (script,) for script in scripts]


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("ANTHROPIC_API_KEY", "test-key")
    server = Server()
    thread = threading.Thread(target=server.http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.http.shutdown()
    server.http.server_close()
    thread.join()


@pytest.fixture
def chat(server, capsys):
    """Runs the command once: gives status, standard output and standard error."""

    def chat(*words):
        status = main(["chat", *server.words, *words])
        out, err = capsys.readouterr()
        return status, out, err

    return chat


class Terminal:
    """The command on a terminal of its own, whose output is waited for, never slept for."""

    def __init__(self, *words, **environment):
        self.master, slave = pty.openpty()
        own_terminal = "import fcntl, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0)"
        command = f"{own_terminal}; from claudeprov.commands import main; sys.exit(main())"
        environment = {name: value for name, value in os.environ.items() if name != "NO_COLOR"} | environment
        self.process = subprocess.Popen(
            [sys.executable, "-c", command, "chat", *words],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            env=environment | {"TERM": "xterm"},
        )
        os.close(slave)
        self.seen = ""

    def wait_for(self, text):
        """Read until *text* has been shown; return what was shown up to its end."""
        while text not in self.seen:
            assert select.select([self.master], [], [], PATIENCE)[0], f"{text!r} is not in {self.seen!r}"
            try:
                self.seen += os.read(self.master, 65536).decode()
            except OSError as error:  # the other side is closed
                raise AssertionError(f"{text!r} is not in {self.seen!r}") from error
        before, _, self.seen = self.seen.partition(text)
        return before + text

    def type(self, keys):
        os.write(self.master, keys.encode())

    def status(self):
        """Read on to the end; return the exit status."""
        try:
            while data := os.read(self.master, 65536):
                self.seen += data.decode()
        except OSError:  # how Linux tells that the other side is closed
            pass
        return self.process.wait(PATIENCE)

    def close(self):
        self.process.kill()
        self.process.wait()
        os.close(self.master)


@pytest.fixture
def terminal(server):
    """Starts the command on a terminal."""
    terminals = []

    def terminal(*words, **environment):
        terminals.append(Terminal(*server.words, *words, **environment))
        return terminals[-1]

    yield terminal
    for each in terminals:
        each.close()


@pytest.fixture
def typing(monkeypatch):
    """Makes a terminal of the test's streams, on which the lines are typed; an exception is what a key raises."""

    def typing(*lines):
        keys = iter([*lines, EOFError()])

        def type_line(prompt):
            line = next(keys)
            if isinstance(line, BaseException):
                raise line
            return line

        monkeypatch.setattr("builtins.input", type_line)
        for stream in (sys.stdin, sys.stdout, sys.stderr):
            monkeypatch.setattr(stream, "isatty", lambda: True)

    return typing


@pytest.fixture
def pipe_in(monkeypatch):
    """Makes bytes the standard input."""

    def pipe_in(data):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))

    return pipe_in


def prompts(request):
    return [turn["content"] for turn in request["messages"] if turn["role"] == "user"]


def test_standard_output_holds_the_answer_and_nothing_else(server, chat):
    server.will(THOUGHTFUL)
    status, out, _ = chat("-p", "What is 2 + 2?")
    assert (status, out) == (0, "It is 4.\n")
    assert server.requests[0]["messages"] == [{"role": "user", "content": "What is 2 + 2?"}]


def test_thinking_and_a_line_of_usage_cost_and_latency_go_to_standard_error(server, chat):
    server.will(THOUGHTFUL)
    thinking, line = chat("-p", "What is 2 + 2?")[2].splitlines()
    assert thinking == "Hmm."
    usage_and_cost, latency = line.split("; first chunk ")
    # (9 x 0.1 + 1200 x 0.01 + 7 x 0.5) / 1,000,000
    assert usage_and_cost == "tokens: 9 in, 1,200 from cache, 7 out; cost 0.0000164 USD"
    assert re.fullmatch(r"\d+\.\d\d s, total \d+\.\d\d s", latency)


def test_an_unknown_cost_is_called_so_and_why(server, chat):
    server.will(answer("Hi", model="qwen"))
    assert "; cost unknown (qwen, input: a local model has no list price); " in chat("-p", "Hi")[2]


@pytest.mark.parametrize(
    ("ending", "told"),
    [
        ({"stop_reason": "max_tokens"}, "truncated at max_tokens"),
        ({"stop_reason": "model_context_window_exceeded"}, "truncated at the end of the context window"),
        ({"stop_reason": "stop_sequence", "stop_sequence": "END"}, "stopped at 'END'"),
        ({"stop_reason": "pause_turn"}, "stopped: pause_turn"),
        (
            {"stop_reason": "refusal", "stop_details": {"category": "cyber", "explanation": "It could\nharm."}},
            "refused (cyber): It could harm.",
        ),
        ({"stop_reason": "refusal", "stop_details": None}, "refused (no category): no reason given"),
    ],
)
def test_any_other_end_than_that_of_the_turn_is_told_on_the_last_line(server, chat, ending, told):
    server.will(answer("Hi", **ending))
    status, _, err = chat("-p", "Hi")
    assert (status, err.splitlines()[-1].split(" s; ")[1]) == (0, told)


def test_an_answer_in_several_attempts_says_so(server, chat):
    server.will((529, "overloaded_error"), answer("Hi"))
    status, out, err = chat("-p", "Hi", "retry=standard", "retry.overloaded_base=0.001")
    assert (status, out) == (0, "Hi\n")
    assert err.endswith("; 2 attempts\n")


def test_the_prompt_can_come_from_a_file_or_from_standard_input(server, chat, pipe_in, tmp_path):
    file = tmp_path / "prompt.txt"
    file.write_text("  from a file: é\n")
    server.will(*[answer("Hi")] * 3)
    chat("--file", str(file))
    pipe_in(b"from a pipe\n")
    chat()
    pipe_in(b"from a pipe, explicitly\n")
    chat("--file", "-")
    assert [prompts(request) for request in server.requests] == [
        ["  from a file: é"],
        ["from a pipe"],
        ["from a pipe, explicitly"],
    ]


def test_json_on_a_terminal_asks_for_one_prompt(server, chat, pipe_in, typing):
    server.will(answer("Hi"))
    pipe_in(b"typed\n")
    typing()
    _, out, err = chat("--json")
    assert json.loads(out)["message"]["content"] == [{"type": "text", "text": "Hi"}]
    assert "the prompt, ended by Ctrl-D:" in err
    assert prompts(server.requests[0]) == ["typed"]


def test_a_system_prompt_and_overrides_shape_the_request(server, chat):
    server.will(answer("Hi"))
    chat("-p", "x=1", "--system", "Be brief.", "max_tokens=20")
    request = server.requests[0]
    assert (request["system"], request["max_tokens"], prompts(request)) == ("Be brief.", 20, ["x=1"])


@pytest.mark.parametrize(
    ("words", "stdin", "told"),
    [
        (("-p", " "), b"", "--prompt is empty"),
        ((), b"\n", "standard input is empty"),
        ((), b"caf\xe9", "standard input is no UTF-8 text"),
        (("--file", "nowhere.txt"), b"", "--file nowhere.txt cannot be read: No such file or directory"),
        (("-p", "Hi", "--file", "x"), b"", "not allowed with argument"),
        (("-p", "Hi", "--json", "--chunks"), b"", "not allowed with argument"),
    ],
)
def test_a_prompt_that_cannot_be_had_is_bad_usage(chat, pipe_in, words, stdin, told):
    pipe_in(stdin)
    status, out, err = chat(*words)
    assert (status, out) == (2, "")
    assert told in err


def test_json_is_one_document_with_the_message_as_the_api_gives_it(server, chat):
    server.will(THOUGHTFUL)
    status, out, err = chat("-p", "What is 2 + 2?", "--json")
    document = json.loads(out)
    assert (status, err) == (0, "")
    assert document["message"]["content"] == [
        {"type": "thinking", "thinking": "Hmm.", "signature": "c2ln"},
        {"type": "text", "text": "It is 4."},
    ]
    amounts = {item["name"]: Decimal(item["amount"]) for item in document["cost"]["items"]}
    assert amounts["output"] == Decimal("0.0000035")
    assert Decimal(document["cost"]["total_usd"]) == sum(amounts.values()) == Decimal("0.0000164")
    assert document["mode"] == "live"
    assert [attempt["number"] for attempt in document["attempts"]] == [1]
    assert 0 < document["timing"]["first_chunk"] <= document["timing"]["total"]


def test_chunks_are_the_events_as_they_came(server, chat):
    server.will(THOUGHTFUL)
    _, out, err = chat("-p", "What is 2 + 2?", "--chunks")
    assert [json.loads(line) for line in out.splitlines()] == [
        json.loads(line) for line in re.findall("data: (.*)\n", THOUGHTFUL.decode())
    ]
    assert err.startswith("tokens: 9 in, 1,200 from cache, 7 out; ")


def test_a_stream_that_breaks_keeps_what_arrived_and_then_tells_why(server, chat):
    server.will(beginning("It is"))
    status, out, err = chat("-p", "What is 2 + 2?")
    assert (status, out) == (5, "It is\n")
    assert err == "claudeprov: the stream ended inside content block 0\n"


def test_refused_credentials_exit_with_3(server, chat):
    server.will((401, "authentication_error"))
    assert chat("-p", "Hi")[:2] == (3, "")


def test_a_replay_says_that_it_is_one(server, chat, tmp_path):
    cassette = f"cassette.path={tmp_path / 'chat.yaml'}"
    server.will(answer("Hi"))
    chat("-p", "Hi", "cassette=record", cassette)
    status, out, err = chat("-p", "Hi", "cassette=replay", cassette)
    assert (status, out, len(server.requests)) == (0, "Hi\n", 1)
    assert "replay" in err.splitlines()[0]


def test_what_the_locale_cannot_show_is_escaped(server, chat, monkeypatch, capsys):
    server.will(answer("caf\u00e9 \ud83d"))
    sys.stdout.reconfigure(encoding="ascii")
    assert chat("-p", "Hi")[1] == "caf\\xe9 \\ud83d\n"


def test_a_conversation_sends_back_each_answer_unchanged(server, chat, typing):
    server.will(THOUGHTFUL, answer("Yes."))
    typing("What is 2 + 2?", "", "Sure? ")
    assert chat()[0] == 0
    assert server.requests[1]["messages"] == [
        {"role": "user", "content": "What is 2 + 2?"},
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "Hmm.", "signature": "c2ln"},
                {"type": "text", "text": "It is 4."},
            ],
        },
        {"role": "user", "content": "Sure?"},
    ]


def test_an_answer_that_broke_off_stays_as_text_and_is_marked(server, chat, typing):
    server.will(beginning("It is"), answer("4."))
    typing("What is 2 + 2?", "Go on")
    _, out, err = chat()
    assert out == "It is\n4.\n"
    assert "error: the stream ended inside content block 0" in err
    assert server.requests[1]["messages"][1] == {"role": "assistant", "content": "It is\n\n[cut off here]"}


@pytest.mark.parametrize(
    "script", [(400, "invalid_request_error"), answer("I", "refusal"), answer(" ")], ids=["error", "refusal", "no text"]
)
def test_a_turn_without_an_answer_to_send_back_is_left_out(server, chat, typing, script):
    server.will(script, answer("Hi"))
    typing("Do harm", "Hi")
    status, _, err = chat()
    assert (status, prompts(server.requests[1])) == (0, ["Hi"])
    assert "this turn is left out of the conversation" in err


def test_reset_begins_anew_and_exit_ends(server, chat, typing):
    server.will(answer("One"), answer("Two"))
    typing("first", "/reset", "second", "/exit", "third")
    assert chat()[0] == 0
    assert [prompts(request) for request in server.requests] == [["first"], ["second"]]


def test_a_mistyped_command_is_not_sent(server, chat, typing):
    server.will(answer("A list of hosts."))
    typing("/rset", "/etc/hosts is what?")
    assert "there is no command /rset (there are: /reset, /exit)" in chat()[2]
    assert [prompts(request) for request in server.requests] == [["/etc/hosts is what?"]]


def test_a_line_that_is_no_text_is_asked_for_again(server, chat, typing):
    server.will(answer("Hi"))
    typing(UnicodeDecodeError("utf-8", b"\xe9", 0, 1, "unexpected end of data"), "Hi")
    assert "that is no UTF-8 text" in chat()[2]
    assert [prompts(request) for request in server.requests] == [["Hi"]]


def test_only_the_second_ctrl_c_at_the_prompt_ends(server, chat, typing):
    server.will(answer("Hi"))
    typing(KeyboardInterrupt(), "Hi", KeyboardInterrupt(), KeyboardInterrupt(), "never")
    assert chat()[0] == 130
    assert [prompts(request) for request in server.requests] == [["Hi"]]


def test_a_terminal_gets_thinking_dim_and_no_control_characters_of_the_model(server, terminal):
    evil = "\x1b]0;title\x07\x9b31m\ta\r\nb\x7f"
    server.will(
        sse(start(), *block(0, "thinking", ("thinking", "H\x1b[5mm")), *block(1, "text", ("text", evil)), *end())
    )
    screen = terminal("-p", "Hi")
    assert screen.status() == 0
    thinking, first, second, line = screen.seen.splitlines()
    assert (thinking, first, second) == ("\x1b[2mH[5mm\x1b[22m", "]0;title31m\ta", "b")
    assert line.startswith("\x1b[2mtokens: ")
    assert line.endswith(" s\x1b[22m")


def test_no_color_is_respected(server, terminal):
    server.will(THOUGHTFUL)
    screen = terminal("-p", "Hi", NO_COLOR="1")
    assert screen.status() == 0
    assert "\x1b" not in screen.seen


def test_ctrl_c_ends_a_single_answer_with_130_and_keeps_what_arrived(server, terminal):
    server.will((beginning("Once upon"), HANG))
    screen = terminal("-p", "Tell a story")
    screen.wait_for("Once upon")
    screen.type(CTRL_C)
    assert screen.status() == 130
    assert screen.seen == "^C\r\n"
    assert server.client_left.wait(PATIENCE)


def test_ctrl_c_cuts_an_answer_off_and_keeps_the_conversation(server, terminal):
    server.will(answer("Hi"), (beginning("Once upon"), HANG), (HANG,), answer("Yes"))
    screen = terminal()
    screen.type("Hello\n")
    screen.wait_for("tokens: ")
    screen.wait_for("> ")
    screen.type("Tell a story\n")
    screen.wait_for("Once upon")
    screen.type(CTRL_C)
    screen.wait_for("cut off")
    assert server.client_left.wait(PATIENCE)
    screen.wait_for("> ")
    screen.type("Silence\n")
    assert server.wait_for_requests(3)
    screen.type(CTRL_C)
    screen.wait_for("this turn is left out of the conversation")
    screen.wait_for("> ")
    screen.type("Still there?\n")
    screen.wait_for("tokens: ")
    screen.wait_for("> ")
    screen.type(CTRL_D)
    assert screen.status() == 0
    assert [turn["content"] for turn in server.requests[3]["messages"]] == [
        "Hello",
        [{"type": "text", "text": "Hi"}],
        "Tell a story",
        "Once upon\n\n[cut off here]",
        "Still there?",
    ]


WEATHER = ["--config-dir", "tests/tools/conf", "tools=[weather,forgetting]", "allow_targets=[tests.tools]"]


def calling(name, **arguments):
    """An answer that calls a tool."""
    start_of_call = {"type": "tool_use", "id": f"toolu_{name}", "name": name, "input": {}}
    written = {"type": "input_json_delta", "partial_json": json.dumps(arguments)}
    return sse(
        start(),
        {"type": "content_block_start", "index": 0, "content_block": start_of_call},
        {"type": "content_block_delta", "index": 0, "delta": written},
        {"type": "content_block_stop", "index": 0},
        *end("tool_use"),
    )


def test_calls_of_tools_are_a_line_each_on_standard_error(server, chat):
    server.will(calling("get_weather", city="Oslo"), answer("It is 4 °C."))
    status, out, err = chat("-p", "How is Oslo?", *WEATHER)
    assert (status, out) == (0, "It is 4 °C.\n")
    line, summary = err.splitlines()
    assert re.fullmatch(r'get_weather\(city="Oslo"\): 12 characters, 0\.\d\d s', line)
    assert summary.startswith("tokens: 18 in, 2,400 from cache, 14 out; cost ")
    assert "; 2 rounds, 1 call of tools; model " in summary


def test_a_call_in_vain_says_why_in_its_line(server, chat):
    server.will(calling("forget_weather", city="Oslo"), answer("No."))
    line, summary = chat("-p", "Forget Oslo", *WEATHER)[2].splitlines()
    said = "denied: calls of this tool are not permitted (its effects: write); do without it"
    assert line.startswith(f'forget_weather(city="Oslo"): {said}')
    assert "1 call of tools, 1 in vain" in summary


def test_a_run_of_tools_is_one_document_with_json_and_its_chunks_are_lines(server, chat):
    server.will(*[calling("get_weather", city="Oslo"), answer("Cold.")] * 2)
    document = json.loads(chat("-p", "How is Oslo?", "--json", *WEATHER)[1])
    assert document["message"]["content"] == [{"type": "text", "text": "Cold."}]
    tools = document["tools"]
    assert (tools["stopped"], tools["rounds"], tools["error"], len(tools["messages"])) == ("end_turn", 2, None, 4)
    assert [(call["name"], call["arguments"], call["content"]) for call in tools["calls"]] == [
        ("get_weather", {"city": "Oslo"}, "4 °C and dry")
    ]
    assert Decimal(document["cost"]["total_usd"]) == 2 * Decimal("0.0000164")
    kinds = [json.loads(line)["type"] for line in chat("-p", "How is Oslo?", "--chunks", *WEATHER)[1].splitlines()]
    assert kinds.count("message_start") == 2
    assert kinds.index("tool_call") < kinds.index("tool_result")


def test_a_budget_that_ends_a_run_of_tools_is_told_behind_what_was_done(server, chat):
    server.will(calling("get_weather", city="Oslo"), answer("Cold."))
    limits = ["budget=standard", "budget.run.tokens=2300", "max_tokens=1000"]
    status, _, err = chat("-p", "How is Oslo?", *WEATHER, *limits)
    assert status == 4
    line, summary, error = err.splitlines()[-3:]
    assert line.startswith("get_weather(")
    assert "; stopped: budget; " in summary
    assert "budget" in error
    assert len(server.requests) == 1


def test_the_terminal_is_asked_for_permission_and_the_conversation_keeps_the_calls(server, terminal):
    oslo, rome = (calling("forget_weather", city=city) for city in ("Oslo", "Rome"))
    server.will(oslo, answer("Gone."), rome, answer("No."))
    screen = terminal(*WEATHER, "tools.permissions.write=ask", PYTHONPATH=".")
    screen.type("Forget Oslo\n")
    screen.wait_for('run forget_weather(city="Oslo") (write)? [y/N] ')
    screen.type("y\n")
    screen.wait_for("1 call of tools; ")
    screen.wait_for("> ")
    screen.type("Forget Rome\n")
    screen.wait_for("[y/N] ")
    screen.type("\n")
    screen.wait_for("1 call of tools, 1 in vain")
    screen.wait_for("> ")
    screen.type(CTRL_D)
    assert screen.status() == 0
    last = server.requests[-1]["messages"]
    assert [turn["role"] for turn in last] == ["user", "assistant", "user", "assistant", "user", "assistant", "user"]
    assert (last[2]["content"][0].get("is_error"), last[6]["content"][0]["is_error"]) == (None, True)


def test_ctrl_c_at_a_question_leaves_what_is_typed_next_to_the_conversation(server, terminal):
    server.will(calling("forget_weather", city="Oslo"), answer("Yes"))
    screen = terminal(*WEATHER, "tools.permissions.write=ask", PYTHONPATH=".")
    screen.type("Forget Oslo\n")
    screen.wait_for("[y/N] ")
    screen.type(CTRL_C)
    screen.wait_for("> ")
    screen.type("Still there?\n")
    screen.wait_for("tokens: ")
    screen.wait_for("> ")
    screen.type(CTRL_D)
    assert screen.status() == 0
    assert "did not come to its end" in server.requests[1]["messages"][2]["content"][0]["content"]
    assert server.requests[1]["messages"][3]["content"] == "Still there?"
