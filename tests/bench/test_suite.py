"""Suites: what is packaged is right, and what is wrong with a file is said."""

import contextlib
import io
import re
from pathlib import Path
from textwrap import dedent

import pytest

from claudeprov.bench.answer import is_right
from claudeprov.bench.grade import grade
from claudeprov.bench.suite import AnalysisTask, GenerationTask, cassettes_of, load_suite
from claudeprov.errors import ConfigurationError
from claudeprov.paths import cassettes_dir
from claudeprov.sandbox import Sandbox, SandboxSettings

CODE = load_suite("code")
GENERATION = [task for task in CODE.tasks if isinstance(task, GenerationTask)]
ANALYSIS = [task for task in CODE.tasks if isinstance(task, AnalysisTask)]
SANDBOX = Sandbox(SandboxSettings(require=()))

SOLUTIONS = {
    "count-vowels": """
        def vowels(text):
            return sum(char in "aeiou" for char in text.lower())
        """,
    "second-largest": """
        def second(numbers):
            ranked = sorted(set(numbers))
            return ranked[-2] if len(ranked) > 1 else None
        """,
    "run-length": """
        from itertools import groupby
        def rle(text):
            return "".join(f"{char}{len(list(run))}" for char, run in groupby(text))
        """,
    "roman-numeral": """
        def to_roman(n):
            out = ""
            for value, sign in zip((1000, 900, 500, 400, 100, 90, 50, 40, 10, 9, 5, 4, 1),
                                   "M CM D CD C XC L XL X IX V IV I".split()):
                out += sign * (n // value)
                n %= value
            return out
        """,
    "balanced-brackets": """
        def balanced(text):
            waiting = []
            for char in text:
                if char in "([{":
                    waiting.append(")]}"["([{".index(char)])
                elif char in ")]}" and (not waiting or waiting.pop() != char):
                    return False
            return not waiting
        """,
    "merge-intervals": """
        def merge(intervals):
            out = []
            for start, end in sorted(intervals):
                if out and start <= out[-1][1]:
                    out[-1] = (out[-1][0], max(end, out[-1][1]))
                else:
                    out.append((start, end))
            return out
        """,
    "parse-duration": """
        import re
        def seconds(text):
            match = re.fullmatch(r"(?:(\\d+)h)?(?:(\\d+)m)?(?:(\\d+)s)?", text)
            if not text or not match:
                raise ValueError(text)
            return sum(int(n or 0) * unit for n, unit in zip(match.groups(), (3600, 60, 1)))
        """,
    "lru-cache": """
        from collections import OrderedDict
        class LRU:
            def __init__(self, capacity):
                self.capacity, self.data = capacity, OrderedDict()
            def get(self, key):
                if key in self.data:
                    self.data.move_to_end(key)
                return self.data.get(key)
            def put(self, key, value):
                self.data[key] = value
                self.data.move_to_end(key)
                if len(self.data) > self.capacity:
                    self.data.popitem(last=False)
        """,
    "build-order": """
        def order(needs):
            todo = {name: set() for names in needs.values() for name in names} | {k: set(v) for k, v in needs.items()}
            out = []
            while todo:
                ready = sorted(name for name, before in todo.items() if before <= set(out))
                if not ready:
                    raise ValueError("cycle")
                out.append(ready[0])
                del todo[ready[0]]
            return out
        """,
    "calculator": """
        import re
        def calc(text):
            tokens = re.findall(r"\\d+|[-+*/()]", text)
            def factor():
                token = tokens.pop(0)
                if token == "-":
                    return -factor()
                if token == "(":
                    value = total()
                    tokens.pop(0)
                    return value
                return int(token)
            def term():
                value = factor()
                while tokens and tokens[0] in "*/":
                    if tokens.pop(0) == "*":
                        value *= factor()
                    else:
                        by = factor()
                        value = abs(value) // abs(by) * (1 if (value < 0) == (by < 0) else -1)
                return value
            def total():
                value = term()
                while tokens and tokens[0] in "+-":
                    value = value + term() if tokens.pop(0) == "+" else value - term()
                return value
            return total()
        """,
}


def test_half_of_the_packaged_suite_writes_code_and_half_reads_it():
    assert len(GENERATION) == len(ANALYSIS) == 10


def test_the_packaged_prompts_are_short():
    assert max(len(task.prompt.split()) for task in CODE.tasks) <= 80
    assert max(task.max_tokens for task in CODE.tasks) <= 400


@pytest.mark.parametrize("task", GENERATION, ids=lambda task: task.id)
async def test_a_right_solution_passes_the_packaged_checks(task):
    answer = f"Here it is:\n```python\n{dedent(SOLUTIONS[task.id])}\n```"
    mark = await grade(task, answer, SANDBOX)
    assert (mark.verdict, mark.detail) == ("passed", None)


@pytest.mark.parametrize("task", GENERATION, ids=lambda task: task.id)
async def test_a_solution_that_returns_its_argument_fails_the_packaged_checks(task):
    kind = "class LRU:\n    __init__ = get = put = lambda *_: None" if task.id == "lru-cache" else ""
    mark = await grade(task, f"```\n{kind or f'def {task.defines}(x): return x'}\n```", SANDBOX)
    assert mark.verdict == "failed"


@pytest.mark.parametrize("task", [task for task in ANALYSIS if "print(" in task.prompt], ids=lambda task: task.id)
def test_what_the_packaged_code_prints_or_raises_is_the_answer(task):
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        try:
            exec(re.search(r"```python\n(.*?)```", task.prompt, re.DOTALL)[1], {})
        except LookupError as error:
            printed.write(type(error).__name__)
    assert is_right(printed.getvalue(), task.answer, task.choices)


def test_the_lines_named_by_the_packaged_answers_are_the_faulty_ones():
    for task in ANALYSIS:
        lines = dict(re.findall(r"^(\d) (.*)$", task.prompt, re.MULTILINE))
        if task.id == "type-error":
            for number, line in lines.items():
                raises = pytest.raises(TypeError) if int(number) == task.answer else contextlib.nullcontext()
                with raises:
                    exec(line)
        if task.id == "endless-search":
            namespace = {}
            mended = lines | {str(task.answer): lines[str(task.answer)] + " + 1"}
            exec("\n".join(mended.values()), namespace)
            assert [namespace["find"]([1, 3, 5], x) for x in (0, 3, 4, 9)] == [0, 1, 2, 3]


def test_three_numbers_up_to_ten_never_return():
    def returns(n):
        seen = set()
        while n != 1 and n not in seen:
            seen.add(n)
            n = n // 2 if n % 2 == 0 else n + 3
        return n == 1

    (task,) = (task for task in ANALYSIS if task.id == "never-returns")
    assert sum(not returns(n) for n in range(1, 11)) == task.answer


def test_a_selection_keeps_the_order_of_the_suite():
    assert [task.id for task in CODE.only(["roman-numeral", "run-length"]).tasks] == ["run-length", "roman-numeral"]


def test_a_task_that_is_not_there_is_answered_with_the_nearest():
    with pytest.raises(ConfigurationError, match="no task 'run-lenght'; did you mean 'run-length'"):
        CODE.only(["run-lenght"])


def test_a_suite_that_is_not_packaged_is_answered_with_the_nearest():
    with pytest.raises(ConfigurationError, match="no suite 'cod' is packaged; did you mean 'code'"):
        load_suite("cod")


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigurationError, match=r"there is no file .*mine\.yaml"):
        load_suite("code", tmp_path / "mine.yaml")


def test_suites_that_ask_the_same_have_one_digest(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("name: other\ntasks: [{id: a, kind: analysis, prompt: p, max_tokens: 9, answer: 1}]")
    first = load_suite("other", file)
    file.write_text("name: another\ntasks: [{max_tokens: 9, kind: analysis, prompt: p, answer: 1, id: a}]")
    assert load_suite("x", file).digest == first.digest
    file.write_text("name: other\ntasks: [{id: a, kind: analysis, prompt: p, max_tokens: 9, answer: 2}]")
    assert load_suite("other", file).digest != first.digest


@pytest.mark.parametrize(
    ("task", "said"),
    [
        ("kind: analysis, prompt: p, max_tokens: 0, answer: 1", "task 'a': max_tokens: Input should be greater than 0"),
        ("kind: analysis, prompt: p, max_token: 5, answer: 1", "task 'a': max_token: .* did you mean 'max_tokens'"),
        ("kind: analysis, prompt: p, max_tokens: 5, answer: yes", "task 'a': answer: .* quotes around yes and no"),
        (
            "kind: analysis, prompt: p, max_tokens: 5, answer: x, choices: [y, z]",
            "task 'a': answer 'x' is none of the choices y, z",
        ),
        ("kind: analyse, prompt: p, max_tokens: 5, answer: 1", "task 'a': kind: .* 'generation', 'analysis'"),
        ("kind: generation, prompt: p, max_tokens: 5, defines: f, checks: []", "task 'a': there are no checks"),
        (
            "kind: generation, prompt: p, max_tokens: 5, defines: f, checks: [{call: 'f(', gives: 1}]",
            r"task 'a': checks.0: 'f\(' is no Python expression",
        ),
        (
            "kind: generation, prompt: p, max_tokens: 5, defines: f, checks: [{call: f(), give: 1}]",
            "task 'a': checks.0.give: there is no such key; did you mean 'gives'",
        ),
        (
            "kind: generation, prompt: p, max_tokens: 5, defines: f, checks: [{call: f()}]",
            "task 'a': checks.0: needs either 'gives' or 'raises'",
        ),
        (
            "kind: generation, prompt: p, max_tokens: 5, defines: f, checks: [{call: f(), raises: Oops}]",
            "task 'a': checks.0: 'Oops' is no builtin exception",
        ),
    ],
)
def test_what_is_wrong_with_a_task_is_said_with_file_task_and_key(tmp_path, task, said):
    file = tmp_path / "mine.yaml"
    file.write_text(f"name: mine\ntasks:\n- {{id: a, {task}}}\n")
    with pytest.raises(ConfigurationError, match=f"mine.yaml: {said}"):
        load_suite("mine", file)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: [x", "this is no YAML"),
        ("- a", "mine.yaml: Input should be a valid dictionary"),
        ("name: mine\ntasks: []", "there are no tasks"),
        ("name: mine\ntasks: [7]", "task number 1"),
        ("name: mine\nextra: 1\ntasks: []", "mine.yaml: extra: there is no such key"),
        (
            "name: mine\ntasks:\n" + 2 * "- {id: a, kind: analysis, prompt: p, max_tokens: 1, answer: 1}\n",
            "two tasks have the id 'a'",
        ),
    ],
)
def test_what_is_wrong_with_a_file_is_said(tmp_path, text, said):
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    with pytest.raises(ConfigurationError, match=said):
        load_suite("mine", file)


def test_a_folder_is_no_suite(tmp_path):
    with pytest.raises(ConfigurationError, match="cannot read"):
        load_suite("mine", tmp_path)


def test_a_suite_is_recorded_into_the_current_folder_and_replayed_from_there_if_it_is_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    own, shipped = Path("cassettes/bench"), cassettes_dir() / "bench"
    assert cassettes_of("mine", replay=False) == own
    assert cassettes_of("mine", replay=True) == shipped
    (own / "mine").mkdir(parents=True)
    assert cassettes_of("mine", replay=True) == own
    assert cassettes_of("code", replay=True) == shipped
