"""Python and the packages: by the metadata that an installation has."""

import platform

import pytest

from claudeprov import open_provider
from claudeprov.doctor.environment import extras_of, packages, python

METADATA = """Metadata-Version: 2.4
Name: {name}
Version: {version}
Requires-Python: >=3.11
Classifier: Programming Language :: Python :: 3.11
Classifier: Programming Language :: Python :: 3.12
{requires}
"""


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Makes it look as if a package was installed that needs others."""
    monkeypatch.syspath_prepend(tmp_path)

    def install(name, version, *requires):
        lines = "\n".join(f"Requires-Dist: {line}" for line in requires)
        folder = tmp_path / f"{name}-{version}.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(METADATA.format(name=name, version=version, requires=lines))

    return install


@pytest.mark.parametrize(
    ("version", "status", "found"),
    [
        ("3.10.9", "fault", "Python 3.10.9; claudeprov needs >=3.11"),
        ("3.12.1", "ok", "Python 3.12.1"),
        ("3.99.0", "warning", "Python 3.99.0, with which claudeprov was not tried"),
    ],
)
async def test_python_is_held_against_the_packages_own_word(version, status, found, install, monkeypatch):
    install("claudeprov", "0.1.0")
    monkeypatch.setattr(platform, "python_version", lambda: version)
    monkeypatch.setattr(platform, "python_version_tuple", lambda: tuple(version.split(".")))
    check = await python()
    assert (check.status, check.found) == (status, found)
    assert (check.advice is None) == (status == "ok")


async def test_what_is_installed_here_goes_together():
    assert (await packages()).status == "ok"


async def test_what_is_missing_or_out_of_bounds_is_told_with_what_installs_it(install):
    install("claudeprov", "0.1.0", "hydra-core<1", "no-such-package>=2", 'skipped; python_version < "3"')
    check = await packages()
    assert check.status == "fault"
    assert check.details["conflicts"] == [
        "claudeprov needs hydra-core<1, installed is 1.3.8",
        "claudeprov needs no-such-package>=2, which is not installed",
    ]
    assert "pip install --upgrade 'claudeprov'" in check.advice


async def test_packages_that_do_not_go_with_each_other_are_told(install):
    install("claudeprov", "0.1.0", "alpha")
    install("alpha", "2.0", "beta==1.5")
    install("beta", "1.6")
    assert (await packages()).found == "alpha needs beta==1.5, installed is 1.6"


async def test_an_extra_counts_where_it_is_configured(install):
    install("claudeprov", "0.1.0", 'alpha[more]; extra == "redis"')
    install("alpha", "2.0", 'no-such-package; extra == "more"')
    assert (await packages()).status == "ok"
    check = await packages({"redis"})
    assert check.found == "alpha needs no-such-package, which is not installed"
    assert "claudeprov[redis]" in check.advice


async def test_code_and_metadata_of_two_versions_are_a_warning(install):
    install("claudeprov", "0.0.9")
    check = await packages()
    assert (check.status, check.details["claudeprov"]) == ("warning", "0.0.9")


@pytest.mark.parametrize(
    ("overrides", "extras"),
    [
        ([], set()),
        (["endpoint=bedrock"], {"bedrock"}),
        (["state=redis", "ledger=postgres", "ledger.url=postgresql://h/d"], {"redis", "postgres"}),
        (["telemetry=otlp"], {"otlp"}),
        (["telemetry=prometheus"], {"prometheus"}),
        (["tools=code_analysis"], {"tools"}),
    ],
)
def test_extras_that_a_configuration_needs(overrides, extras):
    assert extras_of(open_provider(overrides).settings) == extras
