"""Answers of a shape by a real model, a small one behind llama.cpp's server, recorded and replayed.

To record them again, from a server on this machine:
ANTHROPIC_API_KEY=local pytest tests/test_output_sessions.py --record-mode=rewrite
"""

from __future__ import annotations

import pytest
from pydantic import BaseModel, Field, field_validator

ADA = {
    "max_tokens": 120,
    "messages": [{"role": "user", "content": "Ada Lovelace, born in 1815, worked in mathematics and computing."}],
}
PARIS = {"max_tokens": 60, "messages": [{"role": "user", "content": "What is the capital of France?"}]}
IN_WORDS = "model.capabilities.tool_use=false"

pytestmark = pytest.mark.claudeprov(
    "model=qwen", "endpoint=compatible", "endpoint.base_url=http://127.0.0.1:8085", "deadline=off", "retry=patient"
)


class Person(BaseModel):
    name: str
    year: int = Field(ge=1700, le=2000, description="Of birth.")
    fields: list[str] = Field(min_length=1)


class City(BaseModel):
    name: str

    @field_validator("name")
    @classmethod
    def _is_loud(cls, name: str) -> str:
        if not name.isupper():
            raise ValueError(f"write it in capital letters, {name.upper()}")
        return name


async def test_a_call_of_the_tool_is_told_as_it_is_written(provider):
    stream = provider.send_message(ADA, output=Person)
    drafts = [draft async for draft in stream.objects()]
    person = (await stream).parsed
    assert (person.name, person.year) == ("Ada Lovelace", 1815)
    assert drafts[-1] == person.model_dump()
    assert len(drafts) > 10
    assert all(draft.keys() <= person.model_dump().keys() for draft in drafts)


async def test_a_plain_exchange_gives_the_same_object(provider):
    streamed = await provider.send_message(ADA, output=Person)
    plain = await provider.send_message(ADA | {"stream": False}, output=Person)
    assert streamed.parsed == plain.parsed


async def test_a_list_comes_in_its_wrapping(provider):
    response = await provider.send_message(ADA, output=list[Person])
    assert [person.name for person in response.parsed] == ["Ada Lovelace"]


@pytest.mark.claudeprov(IN_WORDS)
async def test_a_model_without_tools_does_as_it_is_told_in_words(provider):
    assert (await provider.send_message(ADA, output=Person)).parsed.year == 1815


@pytest.mark.claudeprov(IN_WORDS)
async def test_an_answer_that_does_not_fit_is_put_right_by_the_model(provider):
    response = await provider.send_message(PARIS, output=City)
    assert response.parsed == City(name="PARIS")
    assert '"Paris"' in response.responses[0].text
    assert response.usage.output_tokens == sum(each.usage.output_tokens for each in response.responses)
