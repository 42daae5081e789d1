"""The shipped files are found in a wheel and in a checkout."""

from __future__ import annotations

import pytest

from claudeprov import paths


@pytest.mark.parametrize("find", [paths.conf_dir, paths.cassettes_dir])
def test_the_package_s_own_folder_goes_before_the_one_beside_it(tmp_path, monkeypatch, find):
    package = tmp_path / "claudeprov"
    name = find.__name__.removesuffix("_dir")
    monkeypatch.setattr(paths, "_PACKAGE", package)
    with pytest.raises(FileNotFoundError, match=f"'{name}' of claudeprov is neither at"):
        find()
    (tmp_path / name).mkdir()
    assert find() == tmp_path / name
    (package / name).mkdir(parents=True)
    assert find() == package / name


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("claude-sonnet-5-5", "claude-sonnet-5-5"),
        ("Qwen/Qwen2", "Qwen-Qwen2"),
        ("anthropic.claude-opus-4-5-20251101-v1:0", "anthropic.claude-opus-4-5-20251101-v1-0"),
        ("claude-opus-4-5@20251101", "claude-opus-4-5@20251101"),
        ("../x", "x"),
        ("/tmp/x\0", "tmp-x"),
        ("..", "none"),
        ("", "none"),
    ],
)
def test_a_text_becomes_a_plain_file_name(text, name):
    assert paths.file_name(text) == paths.file_name(name) == name


@pytest.mark.parametrize("letter", ["a", "模"])
def test_a_long_file_name_is_cut_and_stays_apart_from_others_that_begin_alike(tmp_path, letter):
    one, other = (paths.file_name(letter * 300 + end) for end in "xy")
    assert one != other
    assert paths.file_name(one) == one
    assert len(one.encode()) <= 100
    (tmp_path / f"{one}.yaml").touch()
