"""``claudeprov bench``: what it prints, keeps and answers with."""

import asyncio
import io
import json
import signal
import sys
from pathlib import Path

import pytest

from claudeprov.bench.result import RunResult
from claudeprov.commands import bench, main
from claudeprov.errors import (
    AuthenticationError,
    BudgetExceededError,
    CassetteMissError,
    OverloadedError,
    SandboxUnavailableError,
    SpendLimitError,
)

SUITE = """
name: mine
tasks:
- {id: a, kind: analysis, prompt: pa, max_tokens: 9, answer: 1}
- {id: b, kind: analysis, prompt: pb, max_tokens: 9, answer: 1}
"""
CODE = "- {id: c, kind: generation, prompt: pc, max_tokens: 9, defines: f, checks: [{call: f(1), gives: 1}]}\n"


class Fake:
    """Stands for the provider; keeps the settings that it was opened with."""

    mode = "live"
    cassette_note = metrics_url = None
    opened: list

    def __init__(self, settings, *, suite=None):
        self.settings, self.suite = settings, suite

    async def __aenter__(self):
        type(self).opened.append((self.settings, self.suite))
        return self

    async def __aexit__(self, *exc_info):
        pass

    async def send_message(self, request, *, tags=None):
        return await self.script.send_message(request, tags=tags)


@pytest.fixture
def answers(script, monkeypatch, tmp_path):
    """What is answered to the prompts of a suite in the current folder."""
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text(SUITE)
    provider = script({})
    monkeypatch.setattr(Fake, "script", provider, raising=False)
    monkeypatch.setattr(Fake, "opened", [], raising=False)
    monkeypatch.setattr(bench, "AnthropicClaudeProvider", Fake)
    return provider.answers


def run(*words):
    return main(["bench", "suite.path=mine.yaml", "model=qwen", *words])


def the_result() -> RunResult:
    (file,) = Path("runs").rglob("result.json")
    return RunResult.model_validate_json(file.read_bytes())


def test_a_wrong_answer_is_no_failure_of_the_run(answers, respond, capsys):
    answers |= {"pa": respond("1"), "pb": respond("2")}
    assert run() == 0
    out, err = capsys.readouterr()
    assert "1/2 (50%)" in out
    assert "answered 2, not 1" in out
    assert err == f"result: runs/{the_result().name}/result.json\n"


def test_the_result_says_what_was_run(answers, respond):
    answers |= {"pa": respond("1"), "pb": respond("2")}
    run("concurrency=1")
    result = the_result()
    assert (result.suite, result.tasks, result.model, result.endpoint) == ("mine", 2, "qwen", "anthropic")
    assert (result.mode, result.timing, result.interrupted) == ("live", "live", False)
    assert set(result.versions) == {"claudeprov", "anthropic", "python"}
    assert result.settings["concurrency"] == 1
    assert [row.verdict for row in result.rows] == ["passed", "failed"]
    assert result.name.endswith("-mine-qwen")


def test_the_result_says_at_which_level_code_ran_and_nothing_where_there_was_none(answers, respond):
    answers |= {"pa": respond("1"), "pb": respond("1"), "pc": respond("def f(x): return x")}
    run("run_name=without")
    Path("mine.yaml").write_text(SUITE + CODE)
    run("run_name=with")
    files = (Path(f"runs/{name}/result.json") for name in ("without", "with"))
    without, ran = (RunResult.model_validate_json(file.read_bytes()) for file in files)
    assert (without.sandbox, ran.rows[2].verdict) == (None, "passed")
    assert ran.sandbox in ("bubblewrap", "namespaces", "limits")


def test_nothing_is_run_at_a_level_that_does_less_than_is_asked_for(answers, capsys):
    Path("mine.yaml").write_text(SUITE + CODE)
    assert run("suite.sandbox.level=limits", "suite.sandbox.require=[disk]") == 1
    assert "install bubblewrap" in capsys.readouterr().err
    assert not list(Path("runs").iterdir())


def test_the_folder_can_be_named(answers, respond):
    answers |= {"pa": respond("1"), "pb": respond("1")}
    run("run_name=first", "runs_dir=kept")
    assert Path("kept/first/result.json").is_file()
    assert sorted(path.name for path in Path().iterdir()) == ["kept", "mine.yaml"]


@pytest.mark.parametrize("name", ["/tmp/x", "../x", "a/b", "..", "x\\0"])
def test_a_name_that_is_no_folder_of_its_own_is_refused_before_any_call(answers, capsys, name):
    assert run(f"run_name='{name}'") == 2
    assert "run_name" in capsys.readouterr().err
    assert [path.name for path in Path().iterdir()] == ["mine.yaml"]
    assert Fake.opened == []


def test_a_model_of_any_id_has_a_folder_and_a_cassette(answers, respond, monkeypatch):
    monkeypatch.setattr(Fake, "mode", "replay")
    answers |= {"pa": respond("1"), "pb": respond("1")}
    cassette = Path("cassettes/bench/mine/Qwen-Qwen2.yaml")
    cassette.parent.mkdir(parents=True)
    cassette.touch()
    assert run("model.id=Qwen/Qwen2") == 0
    assert (the_result().model, the_result().name[15:]) == ("Qwen/Qwen2", "-mine-Qwen-Qwen2")
    ((settings, _),) = Fake.opened
    assert settings.cassette.path == str(cassette)


def test_a_model_of_a_long_id_has_a_folder(answers, respond):
    answers |= {"pa": respond("1"), "pb": respond("1")}
    assert run(f"model.id={300 * 'x'}") == 0
    assert len(the_result().name) == 100


def test_what_was_done_is_kept_where_an_error_of_no_kind_ends_the_run(answers, respond):
    answers |= {"pa": respond("1"), "pb": RuntimeError("a layer broke")}
    with pytest.raises(RuntimeError, match="a layer broke"):
        run("concurrency=1")
    assert the_result().interrupted
    assert [row.id for row in the_result().rows] == ["a"]


def test_a_run_without_a_row_leaves_no_folder(answers, monkeypatch, capsys):
    async def refuse(*args, **options):
        raise SandboxUnavailableError("no limits here")

    monkeypatch.setattr(bench, "run_suite", refuse)
    assert run() == 1
    assert capsys.readouterr().err == "claudeprov: no limits here\n"
    assert list(Path("runs").iterdir()) == []


def test_json_is_the_result_file(answers, respond, capsys):
    answers |= {"pa": respond("1"), "pb": respond("2")}
    run("--json")
    assert RunResult.model_validate_json(capsys.readouterr().out) == the_result()


def test_tasks_can_be_chosen(answers, respond):
    answers |= {"pb": respond("1")}
    assert run("suite.tasks=[b]") == 0
    assert [row.id for row in the_result().rows] == ["b"]


def test_a_failed_call_is_told_and_counted(answers, respond, capsys):
    answers |= {"pa": respond("1"), "pb": CassetteMissError("it was not recorded. To record it: claudeprov record")}
    assert run() == 1
    out, err = capsys.readouterr()
    assert "not_recorded 1" in out
    assert "not_recorded, 1 of 2 calls; task b: it was not recorded. To record it: claudeprov record" in err


@pytest.mark.parametrize(
    ("errors", "status"),
    [
        ((AuthenticationError, AuthenticationError), 3),
        ((OverloadedError, OverloadedError), 5),
        ((CassetteMissError, CassetteMissError), 1),
        ((AuthenticationError, OverloadedError), 1),
    ],
)
def test_where_no_call_was_answered_the_exit_status_says_why(answers, errors, status):
    answers |= {"pa": errors[0]("no"), "pb": errors[1]("no")}
    assert run() == status


def test_an_interrupted_run_keeps_what_is_done(answers, respond, capsys):
    async def interrupt():
        signal.raise_signal(signal.SIGINT)
        await asyncio.Event().wait()

    answers |= {"pa": respond("1"), "pb": interrupt}
    assert run("concurrency=1") == 130
    assert the_result().interrupted
    assert [row.id for row in the_result().rows] == ["a"]
    assert "interrupted: 1 of 2 tasks were done" in capsys.readouterr().err


@pytest.mark.parametrize(
    "error", [BudgetExceededError("too dear", context={"period": "run"}), SpendLimitError("no more")]
)
def test_a_run_whose_budget_or_quota_is_spent_ends_with_what_is_done_and_4(answers, respond, capsys, error):
    answers |= {"pa": respond("1"), "pb": error}
    assert run("concurrency=1") == 4
    result = the_result()
    assert result.interrupted
    assert result.stopped.code == error.code
    assert [row.id for row in result.rows] == ["a"]
    out, err = capsys.readouterr()
    assert "1/1 (100%)" in out
    assert f"{error.code}: {error.message}: 1 of 2 tasks were done" in err


def test_a_run_whose_first_call_is_over_budget_leaves_nothing_and_ends_with_4(answers, capsys):
    answers |= {"pa": BudgetExceededError("too dear", context={"period": "run"})}
    assert run("concurrency=1") == 4
    assert not list(Path("runs").rglob("result.json"))
    assert "too dear" in capsys.readouterr().err


def test_a_replay_says_whose_answers_it_shows_and_shows_no_latency(answers, respond, capsys, monkeypatch):
    monkeypatch.setattr(Fake, "mode", "replay")
    monkeypatch.setattr(Fake, "cassette_note", "replaying answers of the local model qwen; nothing is sent")
    answers |= {"pa": respond("1"), "pb": respond("1")}
    assert run("cassette=replay") == 0
    out, err = capsys.readouterr()
    assert err.startswith("replaying answers of the local model qwen; nothing is sent\n")
    assert "— (replayed at once)" in out
    assert the_result().source == "replaying answers of the local model qwen; nothing is sent"


def test_a_replay_at_the_recorded_pace_shows_the_recorded_latency(answers, respond, capsys, monkeypatch):
    monkeypatch.setattr(Fake, "mode", "replay")
    answers |= {"pa": respond("1"), "pb": respond("1")}
    run("cassette=replay", "cassette.speed=1")
    assert "1.00 / 1.00 / 1.00 s (as recorded)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("mode", "overrides", "model"),
    [
        ("replay", [], "qwen"),
        ("replay", ["cassette.default_model=smollm2"], "smollm2"),
        ("replay", ["model=haiku"], "claude-haiku-5-5"),
        ("live", [], "claude-sonnet-5-5"),
    ],
)
def test_a_replay_for_which_no_model_was_chosen_is_of_a_recorded_one(
    answers, respond, monkeypatch, mode, overrides, model
):
    monkeypatch.setattr(Fake, "mode", mode)
    answers |= {"pa": respond("1"), "pb": respond("1")}
    assert main(["bench", "suite.path=mine.yaml", *overrides]) == 0
    assert the_result().model == model


def test_the_suite_names_its_cassettes_and_the_current_folder_holds_them(answers, respond):
    answers |= {"pa": respond("1"), "pb": respond("1")}
    run()
    run("cassette.path=mine.yaml")
    assert [(settings.cassette.path, suite) for settings, suite in Fake.opened] == [
        ("cassettes/bench", "mine"),
        ("mine.yaml", "mine"),
    ]


def test_a_replay_takes_the_cassette_of_its_model_where_there_is_one(answers, respond, monkeypatch):
    monkeypatch.setattr(Fake, "mode", "replay")
    answers |= {"pa": respond("1"), "pb": respond("1")}
    folder = Path("cassettes/bench/mine")
    folder.mkdir(parents=True)
    (folder / "qwen.yaml").touch()
    run()
    run("model=smollm2")
    assert [settings.cassette.path for settings, _ in Fake.opened] == [
        "cassettes/bench/mine/qwen.yaml",
        "cassettes/bench",
    ]


def test_a_sweep_has_a_folder_and_a_line_for_each_job(answers, respond, capsys):
    answers |= {"pa": respond("1"), "pb": respond("2")}
    assert main(["bench", "-m", "suite.path=mine.yaml", "model=qwen,smollm2", "run_name=both"]) == 0
    lines = [line.split()[:3] for line in capsys.readouterr().out.splitlines()]
    assert lines[1:] == [["qwen", "1/2", "(50%)"], ["smollm2", "1/2", "(50%)"]]
    assert [path.parent.name for path in sorted(Path("runs/both").rglob("result.json"))] == ["0-qwen", "1-smollm2"]


def test_the_json_of_a_sweep_is_a_list(answers, respond, capsys):
    answers |= {"pa": respond("1"), "pb": OverloadedError("later")}
    assert main(["bench", "-m", "--json", "suite.path=mine.yaml", "model=qwen,smollm2"]) == 1
    assert [document["model"] for document in json.loads(capsys.readouterr().out)] == ["qwen", "smollm2"]


def test_a_job_whose_provider_cannot_be_opened_does_not_end_the_sweep(answers, respond, monkeypatch, capsys):
    async def open_provider(self):
        if self.settings.model.id == "qwen":
            raise AuthenticationError("no credentials")
        return self

    monkeypatch.setattr(Fake, "__aenter__", open_provider)
    answers |= {"pa": respond("1"), "pb": respond("1")}
    assert main(["bench", "-m", "suite.path=mine.yaml", "model=qwen,smollm2"]) == 3
    assert the_result().model == "smollm2"
    assert "job 0-qwen: no credentials\n" in capsys.readouterr().err


def test_a_sweep_without_a_result_leaves_no_folder(answers, monkeypatch):
    async def refuse(self):
        raise AuthenticationError("no credentials")

    monkeypatch.setattr(Fake, "__aenter__", refuse)
    assert main(["bench", "-m", "suite.path=mine.yaml", "model=qwen,smollm2"]) == 3
    assert list(Path("runs").iterdir()) == []


def test_a_sweep_over_folders_keeps_all_in_the_first(answers, respond):
    answers |= {"pa": respond("1"), "pb": respond("1")}
    assert main(["bench", "-m", "suite.path=mine.yaml", "model=qwen", "runs_dir=one,two", "run_name=both"]) == 0
    names = [RunResult.model_validate_json(file.read_bytes()).name for file in sorted(Path("one").rglob("result.json"))]
    assert names == ["both/0-qwen", "both/1-qwen"]


def test_an_interruption_ends_the_sweep(answers, capsys):
    async def interrupt():
        signal.raise_signal(signal.SIGINT)
        await asyncio.Event().wait()

    answers |= {"pa": interrupt}
    assert main(["bench", "-m", "suite.path=mine.yaml", "model=qwen,smollm2", "concurrency=1"]) == 130
    assert len(list(Path("runs").rglob("result.json"))) == 1


def test_a_terminal_sees_how_far_the_run_is(answers, respond, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    answers |= {"pa": respond("1"), "pb": OverloadedError("later")}
    run("concurrency=1")
    assert "2/2" in sys.stderr.getvalue()
    assert "1 passed, 1 failed calls, last: b" in sys.stderr.getvalue()


def test_a_suite_that_is_not_there_is_a_matter_of_configuration(answers, capsys):
    assert main(["bench", "suite.path=other.yaml"]) == 2
    assert "there is no file other.yaml" in capsys.readouterr().err
    assert not Path("runs").exists()


@pytest.mark.usefixtures("no_credentials", "no_settings")
def test_in_a_sweep_what_was_not_recorded_is_counted_and_told_with_the_command_that_records_it(
    capsys, monkeypatch, tmp_path
):
    monkeypatch.chdir(tmp_path)
    words = ["cassette=replay", "suite=smoke", "suite.tasks=[lookup-error,unused-variable]", "model=qwen,haiku"]
    assert main(["bench", "-m", *words, "run_name=sweep"]) == 1
    err = capsys.readouterr().err
    assert "not_recorded, 2 of 2 calls; task lookup-error: this POST /v1/messages to claude-haiku-5-5 was not" in err
    assert "To record it: claudeprov record suite=code model=claude-haiku-5-5" in err
    results = [RunResult.model_validate_json(file.read_bytes()) for file in sorted(Path("runs").rglob("result.json"))]
    assert [result.summary.failures for result in results] == [{}, {"not_recorded": 2}]
    assert [result.summary.score.graded for result in results] == [2, 0]
