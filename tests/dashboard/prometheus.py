"""A real Prometheus on loopback: it scrapes, evaluates rules and answers queries."""

from __future__ import annotations

import json
import socket
import subprocess
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import urlencode
from urllib.request import urlopen

import yaml

INTERVAL = "500ms"
"""How often it scrapes, and evaluates rules."""


class Prometheus:
    """Scrapes *target* and evaluates *rules*, a file.

    Args:
        folder: An empty one, for what it keeps.
        target: Host and port.
        rules: A rules file.
        interval: How often it scrapes, and evaluates rules.
    """

    def __init__(self, folder: Path, target: str, rules: Path, interval: str = INTERVAL) -> None:
        port = free_port()
        self._url = f"http://127.0.0.1:{port}"
        config = {
            "global": {"scrape_interval": interval, "scrape_timeout": interval, "evaluation_interval": interval},
            "rule_files": [str(rules)],
            "scrape_configs": [{"job_name": "app", "static_configs": [{"targets": [target]}]}],
        }
        file = folder / "prometheus.yaml"
        file.write_text(yaml.safe_dump(config))
        options = [f"--config.file={file}", f"--storage.tsdb.path={folder / 'data'}"]
        options += [f"--web.listen-address=127.0.0.1:{port}", "--log.format=json"]
        self._process = subprocess.Popen(["prometheus", *options], cwd=folder, stderr=subprocess.PIPE, text=True)
        assert self._process.stderr is not None
        for line in self._process.stderr:
            if "Server is ready" in line:
                self._rest = Thread(target=self._process.stderr.read)  # a full pipe would stop it
                self._rest.start()
                return
        raise RuntimeError(f"prometheus ended with {self._process.wait()}")

    def close(self) -> None:
        assert self._process.stderr is not None
        self._process.kill()
        self._process.wait()
        self._rest.join()
        self._process.stderr.close()

    def ask(self, path: str, **parameters: Any) -> Any:
        """The data of an answer of its API."""
        with urlopen(f"{self._url}/api/v1/{path}?{urlencode(parameters, doseq=True)}", timeout=10) as answer:
            return json.load(answer)["data"]

    def query(self, expr: str, at: float | None = None) -> list[tuple[dict[str, str], float]]:
        """Labels and value of each series of an instant query."""
        data = self.ask("query", query=expr, **({} if at is None else {"time": at}))
        return [(one["metric"], float(one["value"][1])) for one in data["result"]]

    def query_range(
        self, expr: str, start: float, end: float, step: float
    ) -> list[tuple[dict[str, str], list[tuple[float, float]]]]:
        """Labels, and times and values, of each series of a range query."""
        data = self.ask("query_range", query=expr, start=start, end=end, step=step)
        return [(one["metric"], [(time, float(value)) for time, value in one["values"]]) for one in data["result"]]


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
