"""Ways to tell somebody: the log, an HTTP receiver, a program."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import tempfile
from typing import TYPE_CHECKING, Literal, Protocol

from claudeprov.alerts.alert import Alert
from claudeprov.errors import ConfigurationError
from claudeprov.settings.alerts import ChannelSettings

if TYPE_CHECKING:
    import httpx2

_log = logging.getLogger("claudeprov.alerts")

_LEVELS = {"warning": logging.WARNING, "error": logging.ERROR, "critical": logging.CRITICAL}
_INHERITED = ("PATH", "HOME", "LANG")
"""What a command gets of the environment, which holds credentials."""
_DYING = 5.0
"""Seconds that a command that was killed is waited for."""


class NotDeliveredError(Exception):
    """An alert did not arrive.

    Args:
        reason: Why, without a secret.
        passes: Whether it may arrive later.
    """

    def __init__(self, reason: str, *, passes: bool) -> None:
        super().__init__(reason)
        self.passes = passes


class Channel(Protocol):
    """A way to tell somebody."""

    async def send(self, alert: Alert) -> None:
        """Tell of *alert*; whoever calls this bounds the time that it takes.

        Raises:
            NotDeliveredError: It did not arrive.
        """
        ...

    async def close(self) -> None:
        """Give back what it holds."""
        ...


def open_channel(name: str, settings: ChannelSettings) -> Channel:
    """Make the channel that *settings* describe.

    Raises:
        ConfigurationError: The variable that holds a webhook's URL is not set, or holds none.
    """
    match settings.kind:
        case "log":
            return Log()
        case "command":
            return Command(settings.command)
    assert settings.url_env is not None
    url, key = os.environ.get(settings.url_env, ""), f"alerts.channels.{name}.url_env = {settings.url_env!r}"
    if not url:
        raise ConfigurationError(f"{key}: the environment has no such variable; it is to hold the webhook's URL")
    try:
        return Webhook(url, settings.form)
    except ValueError:
        raise ConfigurationError(f"{key}: what it holds is no URL that begins with http:// or https://") from None


class Log:
    """Logs an alert's message at the level of its severity, what is resolved at INFO."""

    async def send(self, alert: Alert) -> None:
        level = _LEVELS[alert.rule.severity] if alert.state == "firing" else logging.INFO
        _log.log(level, "%s", alert.message, extra={"alert": alert.figures()})

    async def close(self) -> None:
        """There is nothing to give back."""


class Webhook:
    """Posts an alert as JSON. Any 2xx is an answer; of its body nothing is read, and no redirect is followed.

    Args:
        url: Where to, a secret; a login in it is sent by HTTP's basic scheme.
        form: What is posted.

    Raises:
        ValueError: *url* is none.
    """

    def __init__(self, url: str, form: Literal["json", "slack"]) -> None:
        import httpx2

        try:
            whole = httpx2.URL(url)
        except httpx2.InvalidURL:
            raise ValueError("no URL") from None
        if whole.scheme not in ("http", "https") or not whole.host:
            raise ValueError("no URL of HTTP's")
        # The client logs the URL of each request: it is given the secret part of it aside.
        self._origin = whole.copy_with(userinfo=b"", raw_path=b"/")
        self._target = whole.raw_path
        self._login = (whole.username, whole.password) if whole.userinfo else None
        self._form = form
        self._client: httpx2.AsyncClient | None = None

    async def send(self, alert: Alert) -> None:
        import httpx2

        if self._client is None:
            self._client = httpx2.AsyncClient(auth=self._login, timeout=None, follow_redirects=False)
        request = self._client.build_request(
            "POST",
            self._origin,
            content=alert.body(self._form),
            headers={"content-type": "application/json"},
            extensions={"target": self._target},
        )
        try:
            response = await self._client.send(request, stream=True)
            await response.aclose()
        except httpx2.HTTPError as error:
            raise NotDeliveredError(f"{self._origin.host}: {type(error).__name__}: {error}", passes=True) from None
        if not response.is_success:
            passes = response.status_code in (408, 425, 429) or response.status_code >= 500
            raise NotDeliveredError(f"{self._origin.host} answered {response.status_code}", passes=passes)

    async def close(self) -> None:
        if self._client is not None:
            await self._client.aclose()


class Command:
    """Runs a program that reads an alert as JSON from its standard input; what it says is not read.

    Where it does not end in time, it and what it has started are killed.

    Args:
        command: The program and its arguments.
    """

    def __init__(self, command: tuple[str, ...]) -> None:
        self._command = command

    async def send(self, alert: Alert) -> None:
        # A file, not a pipe: nobody waits for a program that does not read.
        with tempfile.TemporaryFile() as stdin:
            stdin.write(alert.body("json"))
            stdin.seek(0)
            try:
                process = await asyncio.create_subprocess_exec(
                    *self._command,
                    stdin=stdin,
                    stdout=asyncio.subprocess.DEVNULL,
                    stderr=asyncio.subprocess.DEVNULL,
                    env={name: os.environ[name] for name in _INHERITED if name in os.environ},
                    start_new_session=True,
                )
            except OSError as error:
                raise NotDeliveredError(f"{self._command[0]} cannot be run: {error.strerror}", passes=False) from None
        try:
            status = await process.wait()
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):  # it has just ended
                    os.killpg(process.pid, signal.SIGKILL)
                # What the loop holds of it is only given back once it has ended.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_DYING):
                        await asyncio.shield(process.wait())
        if status != 0:
            raise NotDeliveredError(f"{self._command[0]} ended with status {status}", passes=True)

    async def close(self) -> None:
        """There is nothing to give back."""
