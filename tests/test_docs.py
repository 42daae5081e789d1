"""The code that the documents show, as a reader would try it."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import claudeprov
from claudeprov.testing import ScriptedProvider, check_middleware

ROOT = Path(__file__).parents[1]
QUESTION = {"messages": [{"role": "user", "content": "Why is the sky blue? Answer in one sentence."}], "max_tokens": 60}
ANSWER = "The sky is blue because it is a color that reflects light from the sun."

pytestmark = pytest.mark.usefixtures("no_credentials", "no_settings")


def blocks(path, language):
    """The blocks of code in that language."""
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / path).read_text(), re.DOTALL)


def block(path, language):
    """The first of them."""
    return blocks(path, language)[0]


def test_the_readmes_example_runs_in_an_empty_folder_without_a_key(tmp_path):
    example = block("README.md", "python")
    assert len(example.splitlines()) < 15
    (tmp_path / "example.py").write_text(example)
    ran = subprocess.run([sys.executable, "example.py"], cwd=tmp_path, check=True, capture_output=True, text=True)
    assert ran.stdout == f"{ANSWER}\nend_turn, 17 tokens\n"


async def test_the_layer_of_the_docs_keeps_the_contract_and_goes_into_the_chain(tmp_path, monkeypatch):
    (tmp_path / "slots.py").write_text(block("docs/middleware.md", "python"))
    (tmp_path / "config.yaml").write_text(block("docs/middleware.md", "yaml"))
    monkeypatch.syspath_prepend(tmp_path)
    from slots import Slots

    await check_middleware(lambda: Slots(2))
    async with claudeprov.open_provider(["model=qwen", "cassette=replay"], config_dir=tmp_path) as provider:
        assert (await provider.send_message(QUESTION)).text == ANSWER


async def test_the_example_of_structured_output_gets_its_object(monkeypatch, capsys):
    answer = '{"name": "Ada Lovelace", "year": 1815, "fields": ["mathematics"]}'
    monkeypatch.setattr(claudeprov, "open_provider", lambda: ScriptedProvider(answer))
    example = block("docs/output.md", "python").replace("asyncio.run(main())", "")
    scope = {}
    exec(compile(example, "output.md", "exec"), scope)
    await scope["main"]()
    assert capsys.readouterr().out.splitlines()[-1] == "name='Ada Lovelace' year=1815 fields=['mathematics']"


def test_the_table_of_layers_tells_their_defaults():
    settings = claudeprov.open_provider().settings
    table = (ROOT / "README.md").read_text()
    told = {
        "deadline": ("total", "connect", "first_event", "between_events"),
        "breaker": ("failures", "window", "open_for", "trials"),
        "retry": ("max_attempts", "base", "cap", "max_wait", "budget"),
    }
    for group, names in told.items():
        (row,) = re.findall(rf"^\| `{group}` \| \*\*standard.*$", table, re.MULTILINE)
        for name in names:
            assert re.search(rf"`{name}` {getattr(getattr(settings, group), name):g}\b", row), (group, name)


def test_the_tables_name_every_option_of_every_group():
    tables = re.search(r"^## Layers.*?^## Commands", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE)[0]
    lines = [line.replace("*", "") for line in tables.splitlines() if line.startswith("| `")]
    for file in (ROOT / "conf").glob("*/*.yaml"):
        group, option = file.parent.name, file.stem
        if group not in ("model", "pricing"):
            assert any(f"`{group}`" in line and re.search(rf"\b{option}\b", line) for line in lines), (group, option)
