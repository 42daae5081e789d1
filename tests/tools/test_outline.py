"""An outline shows what a file defines: classes, functions, signatures, documentation and lines."""

from __future__ import annotations

from pathlib import Path

import pytest

from claudeprov.tools.outline import outline_file
from claudeprov.tools.tool import ToolError

PYTHON = '''# a comment
"""What the module is for.

More of it.
"""

LIMIT: int = 3
type Pair = tuple[int, int]


@decorated(1)
class Parser(Base, metaclass=Meta):
    """Parses."""

    size = 4

    @property
    async def parse(
        self, text: str, *, deep: bool = False,
    ) -> dict[str, int]:
        r"""Parse a text.

        Args:
            text: What.
        """
        def inner(x): return x
        return inner

    def bare(self): "One line."


def first(): pass
'''

TYPESCRIPT = """import { x } from "./x";
/**
 * A shape.
 * More of it.
 */
export abstract class Shape<T> extends Base implements I {
  private n: number = 1;
  /** Its area. */
  abstract area(): number;
  handler = (e: Event): void => { go(e); };
  constructor(private a: string) { super(); }
  async method<T>(a: string, b?: number): Promise<T> { return x; }
}
const other = 1; // not about add
export const add = (a: number, b: number): number => a + b;
// Many
// forms.
export function over(a: string): void;
export function over(a: any) { }
export interface Props { name: string; run(x: number): void }
type Id = string | number;
export enum Color { Red }
namespace N { export const inner = () => 1; }
"""

JAVASCRIPT = """// Starts it.
export default function start({ port = 1 }, ...rest) {
  const close = () => {};
}
function* each() {}
class Box { #secret() {} static make = () => new Box(); get size() { return 1; } }
const routes = { get: async (req) => {}, post(req) {} };
module.exports.later = function () {};
"""


def outline(tmp_path: Path, name: str, code: str, **options) -> list[str]:
    (tmp_path / name).write_text(code)
    return outline_file(str(tmp_path), name, **options).split("\n")


def test_the_outline_of_python(tmp_path: Path):
    assert outline(tmp_path, "a.py", PYTHON) == [
        "a.py: python, 32 lines, 8 definitions",
        "  What the module is for.",
        "7-7  LIMIT: int = 3",
        "8-8  type Pair = tuple[int, int]",
        "11-29  @decorated(1) class Parser(Base, metaclass=Meta)  — Parses.",
        "  15-15  size = 4",
        "  17-27  @property async def parse(self, text: str, *, deep: bool = False) -> dict[str, int]  — Parse a text.",
        "    26-26  def inner(x)",
        "  29-29  def bare(self)  — One line.",
        "32-32  def first()",
    ]


def test_the_outline_of_typescript(tmp_path: Path):
    assert outline(tmp_path, "a.ts", TYPESCRIPT) == [
        "a.ts: typescript, 23 lines, 16 definitions",
        "6-13  export abstract class Shape<T> extends Base implements I  — A shape.",
        "  9-9  abstract area(): number  — Its area.",
        "  10-10  handler = (e: Event): void =>",
        "  11-11  constructor(private a: string)",
        "  12-12  async method<T>(a: string, b?: number): Promise<T>",
        "14-14  const other = 1",
        "15-15  export const add = (a: number, b: number): number =>",
        "18-18  export function over(a: string): void  — Many",
        "19-19  export function over(a: any)",
        "20-20  export interface Props",
        "  20-20  name: string",
        "  20-20  run(x: number): void",
        "21-21  type Id = string | number",
        "22-22  export enum Color",
        "23-23  namespace N",
        "  23-23  export const inner = () =>",
    ]


def test_the_outline_of_javascript(tmp_path: Path):
    assert outline(tmp_path, "a.mjs", JAVASCRIPT) == [
        "a.mjs: javascript, 8 lines, 11 definitions",
        "2-4  export default function start({ port = 1 }, ...rest)  — Starts it.",
        "  3-3  const close = () =>",
        "5-5  function* each()",
        "6-6  class Box",
        "  6-6  #secret()",
        "  6-6  static make = () =>",
        "  6-6  get size()",
        "7-7  const routes = { get: async (req) => {}, post(req) {} }",
        "  7-7  get: async (req) =>",
        "  7-7  post(req)",
        "8-8  module.exports.later = function ()",
    ]


def test_jsx_in_typescript_is_parsed(tmp_path: Path):
    code = "export const App = (props: Props) => <div>{props.name}</div>;\n"
    assert outline(tmp_path, "a.tsx", code)[1] == "1-1  export const App = (props: Props) =>"


def test_documentation_is_shown_in_full_where_asked_for(tmp_path: Path):
    assert outline(tmp_path, "a.py", PYTHON, full_docs=True)[1:4] == ["  What the module is for.", "", "  More of it."]
    full = outline(tmp_path, "a.ts", TYPESCRIPT, full_docs=True)
    assert full[2:4] == ["    A shape.", "    More of it."]


def test_a_syntax_error_is_told_and_hides_little(tmp_path: Path):
    shown = outline(tmp_path, "a.py", "def good(): pass\n\nx = = 1\n\ndef also(): pass\n")
    assert shown[0].endswith("a syntax error in line 3 may hide some")
    assert {"1-1  def good()", "5-5  def also()"} < set(shown)


def test_a_long_outline_is_cut_and_goes_on_where_it_says(tmp_path: Path):
    code = "".join(
        f"def function_{number}(argument_one: int, argument_two: str) -> None: pass\n" for number in range(1000)
    )
    *_, last = outline(tmp_path, "a.py", code)
    assert last.startswith("[Cut: definitions 1 to ")
    offset = int(last.split("offset=")[1].rstrip(".]"))
    assert f"def function_{offset}(" in outline(tmp_path, "a.py", code, offset=offset)[1]


@pytest.mark.parametrize("content", ["", "\n", "\ufeff", "\0", "((((", "é = 'ü'\n", "def f():\n" * 500])
def test_odd_files_have_an_outline_too(tmp_path: Path, content: str):
    assert outline(tmp_path, "a.py", content)[0].startswith("a.py: python")


def test_a_file_of_no_known_language_is_told_which_are(tmp_path: Path):
    with pytest.raises(ToolError, match=r"no language that is parsed here; these are: \.py, .*\.tsx"):
        outline(tmp_path, "a.rb", "")


def test_a_file_that_nests_too_deeply_is_told(tmp_path: Path):
    (tmp_path / "deep.js").write_text("function f(){" * 3_000 + "}" * 3_000)
    with pytest.raises(ToolError, match="Line 1 is in more than 200 definitions"):
        outline_file(str(tmp_path), "deep.js")
