"""What is asked: the Messages API's own parameters, by their own names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from claudeprov.errors import InvalidRequestError

_HEADER_FIELDS = frozenset(("betas",))
"""Fields that travel as headers, not in the body."""


class MessageRequest(BaseModel):
    """One request. Unknown parameters pass through to the API as they are.

    ``model`` and ``max_tokens`` default to the configuration; ``stream: false`` makes one plain HTTP exchange;
    ``betas`` are sent as the ``anthropic-beta`` header.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    messages: list[dict[str, Any]]
    """The conversation: objects with ``role`` and ``content``, not looked into."""
    model: str | None = None
    """Id of the model, as the endpoint knows it, or an alias of the catalogue."""
    max_tokens: int | None = Field(default=None, ge=0)
    """Most tokens of output, thinking included."""
    stream: bool = True
    """Whether the answer comes as a stream of events or in one piece."""
    betas: list[Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]+$")]] = Field(default_factory=list)
    """Names of the beta features asked for."""

    @classmethod
    def of(cls, request: MessageRequest | Mapping[str, Any]) -> MessageRequest:
        """The request itself, or one made of a mapping.

        Raises:
            InvalidRequestError: A parameter has the wrong type; nothing was sent.
        """
        if isinstance(request, MessageRequest):
            return request
        try:
            return cls.model_validate(dict(request))
        except (ValidationError, TypeError, ValueError) as error:
            raise InvalidRequestError(f"not a request of the Messages API: {_explain(error)}") from error

    def body(self) -> dict[str, Any]:
        """The JSON object to send: what was given, ``stream`` where it streams, no header fields."""
        given = self.model_fields_set
        fields = {
            name: value
            for name, value in self.__dict__.items()
            if (name in given and value is not None and name not in _HEADER_FIELDS)
        }
        if self.stream:
            fields["stream"] = True
        return fields | (self.model_extra or {})

    def with_defaults(self, defaults: Mapping[str, Any]) -> Self:
        """This request, with *defaults* for parameters that it leaves out, and for keys of ``output_config``."""
        missing = {name: value for name, value in defaults.items() if getattr(self, name, None) is None}
        output = getattr(self, "output_config", None)
        if isinstance(output, dict) and "output_config" in defaults:
            missing["output_config"] = {**defaults["output_config"], **output}
        return self.model_copy(update=missing) if missing else self


def _explain(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    return "; ".join(
        f"{'.'.join(map(str, problem['loc'])) or 'request'}: {problem['msg']}" for problem in error.errors()
    )
