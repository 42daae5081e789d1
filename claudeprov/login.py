"""Credentials of the environment and of the platforms: where they are found, and what to do where there are none."""

from __future__ import annotations

import os

from claudeprov.errors import AuthenticationError

_LOGIN = "set ANTHROPIC_API_KEY, or log in with a profile of the official SDK"
_LOGINS = {
    "bedrock": "set AWS_BEARER_TOKEN_BEDROCK, or configure AWS credentials",
    "vertex": "run 'gcloud auth application-default login'",
    "foundry": "set ANTHROPIC_FOUNDRY_API_KEY",
}


def login_hint(kind: str) -> str:
    """What to do where there are no credentials for an endpoint of that kind."""
    return _LOGINS.get(kind, _LOGIN)


def key_in(*names: str) -> str | None:
    """The variable of the environment that holds a key: the first that does is the one that is sent.

    Raises:
        AuthenticationError: The key cannot be sent.
    """
    for name in names:
        if key := os.environ.get(name):
            if not key.isprintable():
                raise AuthenticationError(
                    f"{name} cannot be sent: it holds a line break or another such character; set it to the key alone"
                )
            return name
    return None


def aws_source() -> str | None:
    """Where AWS credentials come from, in boto's words."""
    import boto3

    credentials = boto3.Session().get_credentials()
    return None if credentials is None else f"AWS ({credentials.method})"


def google_project() -> str | None:
    """The project of Google's default credentials, empty if they have none; ``None`` if there are none."""
    import google.auth
    from google.auth.exceptions import DefaultCredentialsError

    try:
        _, project = google.auth.default()
    except DefaultCredentialsError:
        return None
    return project or ""
