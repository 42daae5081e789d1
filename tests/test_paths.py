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
