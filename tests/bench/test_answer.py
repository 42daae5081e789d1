"""Answers: what counts as the code or the value that a text gives."""

import pytest

from claudeprov.bench.answer import code_of, is_right, value_of


@pytest.mark.parametrize(
    "text",
    [
        "```python\ndef f(x):\n    return x\n```",
        "Sure!\n\n```py\ndef f(x):\n    return x\n```\nIt returns x.",
        "```\ndef f(x):\n    return x\n",
        "  ```python\n  def f(x):\n      return x\n  ```",
        "def f(x):\n    return x\n",
        "Here is the code:\ndef f(x):\n    return x\n",
    ],
)
def test_code_is_found_in_fences_closed_or_not_and_without_any(text):
    assert code_of(text, "f").strip() == "def f(x):\n    return x"


def test_the_last_block_that_defines_the_name_counts():
    text = "```python\ndef f(): return 1\n```\nBetter:\n```python\ndef f(): return 2\n```\n```python\nprint(f())\n```"
    assert code_of(text, "f") == "def f(): return 2\n"


def test_code_keeps_what_stands_before_the_definition():
    text = "import re\nPATTERN = re.compile('x')\ndef f(): return PATTERN"
    assert code_of(text, "f") == text


@pytest.mark.parametrize("text", ["class f:\n    pass", "async def f(): pass", "import os\nf = os.getcwd"])
def test_a_definition_is_a_function_a_class_or_an_assignment(text):
    assert code_of(text, "f") == text


@pytest.mark.parametrize("text", ["", "I cannot do that.", "```sh\ndef f\n```", "def ff(): pass", "f(1)"])
def test_a_text_without_the_definition_has_no_code(text):
    assert code_of(text, "f") is None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("42", "42"),
        ("**42**\n\nThe loop adds up.", "42"),
        ("```\nTrue [1]\n```", "True [1]"),
        ("First i is 3.\n**Answer:** `7`", "7"),
        ("Answer: 1\nNo, wait.\nAnswer: 2", "2"),
        ("Answer:\n\n`x`", "x"),
        ("", ""),
    ],
)
def test_the_value_is_what_follows_the_last_answer_or_else_the_first_line(text, value):
    assert value_of(text) == value


@pytest.mark.parametrize("text", ["6", "Line 6.", "`6`", "Answer: 6", "The line is **6**: lo never moves"])
def test_a_number_is_right_if_it_is_the_only_one_in_its_line(text):
    assert is_right(text, 6)


@pytest.mark.parametrize("text", ["", "16", "6.5", "-6", "5 or 6", "x6", "six"])
def test_another_number_or_several_are_wrong(text):
    assert not is_right(text, 6)


def test_a_number_can_be_negative():
    assert is_right("Answer: -4", -4)
    assert not is_right("4", -4)


@pytest.mark.parametrize(
    ("text", "number"),
    [("Answer: 1,000", 1000), ("-12,345,678", -12345678), ("1_000 items", 1000), ("It is 1,000.", 1000)],
)
def test_a_number_can_have_separators_of_thousands(text, number):
    assert is_right(text, number)


@pytest.mark.parametrize(
    ("text", "number"), [("1,000.5", 1000), ("1,000.5", 1), ("1,0000", 10000), ("5,6", 56), ("5,6", 6), ("10,00", 1000)]
)
def test_a_comma_elsewhere_separates_no_thousands(text, number):
    assert not is_right(text, number)


COMPLEXITIES = ("O(log n)", "O(n)", "O(n log n)", "O(n^2)")


@pytest.mark.parametrize(
    ("text", "choice"),
    [
        ("O(n)", "O(n)"),
        ("o(N).", "O(n)"),
        ("The complexity is `O(n log n)`.", "O(n log n)"),
        ("O(nlog n)", "O(n log n)"),
        ("$O(n^2)$", "O(n^2)"),
        ("O(n²)", "O(n^2)"),
        ("O(n**2)", "O(n^2)"),
    ],
)
def test_a_choice_is_right_in_any_case_and_spacing(text, choice):
    assert [c for c in COMPLEXITIES if is_right(text, c, COMPLEXITIES)] == [choice]


def test_naming_two_choices_is_wrong():
    assert not is_right("O(n) or O(n^2)", "O(n)", COMPLEXITIES)


def test_a_choice_is_a_word_of_its_own():
    assert not is_right("the widths", "width", ("width", "total"))
    assert is_right("The variable `width` is never read.", "width", ("width", "total"))


def test_a_text_is_compared_but_for_spaces_and_quotes_around_it():
    assert is_right("`True  [9, 16]`\n", "True [9, 16]")
    assert is_right("True [9, 16].", "True [9, 16]")
    assert not is_right("true [9, 16]", "True [9, 16]")
