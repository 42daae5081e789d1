"""Folders are listed by the rules of .gitignore files, and lists are bounded."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from claudeprov.tools import tree
from claudeprov.tools.jail import Root
from claudeprov.tools.tool import ToolError
from claudeprov.tools.tree import Walk, list_files


@pytest.fixture
def root(tmp_path: Path) -> str:
    for name, content in {
        ".gitignore": "*.log\nbuild/\n/only_here.txt\n!kept.log\n",
        "README.md": "# x",
        "a.log": "",
        "kept.log": "",
        "only_here.txt": "",
        "build/out.js": "",
        "node_modules/lib/index.js": "",
        "src/main.py": "x = 1\n",
        "src/only_here.txt": "",
        "src/b.log": "",
        "src/sub/.gitignore": "!*.log\nmain.ts\n",
        "src/sub/c.log": "",
        "src/sub/main.ts": "",
        "src/sub/deep/util.ts": "",
        ".env": "",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    (tmp_path / "src" / "link.py").symlink_to("main.py")
    return str(tmp_path)


def files(root: str, path: str = ".", **options) -> list[str]:
    return [entry.path for entry in Walk(Root(root), path, **options).files()]


def test_files_come_as_git_would_take_them(root: str):
    assert files(root) == [
        ".gitignore",
        "README.md",
        "kept.log",
        "src/main.py",
        "src/only_here.txt",
        "src/sub/.gitignore",
        "src/sub/c.log",
        "src/sub/deep/util.ts",
    ]


def test_rules_of_folders_above_hold_below(root: str):
    assert files(root, "src") == [path for path in files(root) if path.startswith("src/")]
    assert files(root, "src/sub/deep") == ["src/sub/deep/util.ts"]


def test_ignored_files_come_when_asked_for_and_hidden_ones_do_not(root: str):
    found = files(root, ignored=True)
    assert {"a.log", "build/out.js", "node_modules/lib/index.js", "src/sub/main.ts"} < set(found)
    assert ".env" not in found


def test_globs_pick_files(root: str):
    assert files(root, globs=["*.ts", "*.py"]) == ["src/main.py", "src/sub/deep/util.ts"]
    assert files(root, globs=["src/**", "!*.log", "!.gitignore"]) == [
        "src/main.py",
        "src/only_here.txt",
        "src/sub/deep/util.ts",
    ]


def test_a_file_is_a_walk_of_one(root: str):
    assert files(root, "src/main.py") == ["src/main.py"]


def test_a_list_shows_folders_sizes_and_links_and_counts_the_rest(root: str):
    assert list_files(root, "src").split("\n") == [
        "src/: 7 entries to depth 2; 2 ignored or hidden (ignored=true shows ignored ones)",
        "src/link.py  (symbolic link)",
        "src/main.py  6 bytes",
        "src/only_here.txt  0 bytes",
        "src/sub/",
        "src/sub/.gitignore  15 bytes",
        "src/sub/c.log  0 bytes",
        "src/sub/deep/",
    ]


def test_depth_bounds_a_list(root: str):
    shallow = list_files(root, depth=1)
    assert "src/\n" in shallow + "\n"
    assert "src/main.py" not in shallow


def test_a_long_list_is_cut_and_says_how_to_go_on(tmp_path: Path):
    for number in range(1500):
        (tmp_path / f"a_file_with_a_long_name_{number:04}").touch()
    shown = list_files(str(tmp_path))
    note = shown.splitlines()[-1]
    assert len(shown) < 20_300
    assert note.startswith("[Cut: entries 1 to ")
    offset = int(note.split("offset=")[1].rstrip(".]"))
    assert f"a_file_with_a_long_name_{offset:04}" in list_files(str(tmp_path), offset=offset).splitlines()[1]
    assert "There are only 1,500 entries" in list_files(str(tmp_path), offset=1500)


def test_a_walk_stops_at_its_bound_and_says_so(root: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tree, "MAX_VISITED", 5)
    assert "stopped after 5 entries" in list_files(root)


def test_a_folder_that_cannot_be_read_does_not_end_the_walk(tmp_path: Path):
    (tmp_path / "big").mkdir()
    for number in range(4):
        (tmp_path / "big" / str(number)).touch()
    (tmp_path / "file.txt").touch()
    walk = Walk(Root(tmp_path, max_entries=3))
    assert [entry.path for entry in walk] == ["big", "file.txt"]
    assert walk.left_out == 1


def test_what_is_no_pattern_in_a_gitignore_is_left_out_and_the_rest_holds(tmp_path: Path):
    (tmp_path / ".gitignore").write_bytes(b"\xff\xfe!\n[z-a]\n!\n*.log\r\n\\\n[\n")
    (tmp_path / "a.py").touch()
    (tmp_path / "b.log").touch()
    assert files(str(tmp_path)) == [".gitignore", "a.py"]


def test_a_gitignore_of_very_many_lines_holds(tmp_path: Path):
    (tmp_path / ".gitignore").write_text(
        "".join(f"folder_{number}/*.x{number}\n" for number in range(4_999)) + "*.log\n"
    )
    (tmp_path / "a.py").touch()
    (tmp_path / "b.log").touch()
    assert files(str(tmp_path)) == [".gitignore", "a.py"]


def test_no_glob_runs_for_ever(tmp_path: Path):
    (tmp_path / ("a" * 250)).touch()
    assert files(str(tmp_path), globs=["*a" * 60 + "b", "**/a/**/a/**/a/**/b"]) == []


def test_a_glob_that_is_none_is_told(root: str):
    with pytest.raises(ToolError, match=r"'\[z-a\]' is no pattern; give some such as \*.py"):
        list_files(root, globs=["*.py", "[z-a]", "*.ts"])


def test_a_gitignore_that_cannot_be_read_is_as_none(tmp_path: Path):
    (tmp_path / ".gitignore").write_text("*.py\n" * 10)
    (tmp_path / "a.py").touch()
    assert [entry.path for entry in Walk(Root(tmp_path, max_bytes=10)).files()] == [".gitignore", "a.py"]


def test_what_can_never_be_read_is_told(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe")
    assert "pipe  (device, FIFO or socket: cannot be read)" in list_files(str(tmp_path))


def test_an_entry_is_held_against_the_rules_of_the_folders_above_it_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for number in range(50):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / ".gitignore").write_text("*.o\n")
        (tmp_path / str(number) / "a.o").touch()
    asked: list[str] = []

    class Counted(tree.Patterns):
        def match(self, path: str) -> bool | None:
            asked.append(path)
            return super().match(path)

    monkeypatch.setattr(tree, "Patterns", Counted)
    assert len(files(str(tmp_path))) == 50
    assert len(asked) == 50 * (1 + 2 + 1)  # the folder and a.o by one set of rules, .gitignore by two


def test_the_rules_of_one_walk_are_bounded_and_that_is_said(root: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tree, "MAX_RULES", 2)
    shown = list_files(root)
    assert "only 2 lines of .gitignore files count" in shown
    assert "a.log" not in shown
    assert "src/only_here.txt" in shown


def test_a_walk_stops_at_its_time_and_says_so(root: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tree, "MAX_SECONDS", -1)
    assert "stopped after -1 s: name a folder below" in list_files(root)
