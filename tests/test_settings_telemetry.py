"""What the group ``telemetry`` takes, and what it refuses."""

from __future__ import annotations

import pytest

from claudeprov.compose import compose
from claudeprov.errors import ConfigurationError
from claudeprov.settings.telemetry import TelemetrySettings

pytestmark = pytest.mark.usefixtures("no_settings")
KEY = "sk-" + "ant-api03-" + "Zk8Qw3Rt7Yp1Lm5Nx9"


def telemetry(*overrides: str) -> TelemetrySettings:
    settings = compose(overrides).telemetry
    assert settings is not None
    return settings


def test_it_exports_nothing_and_tells_no_content_by_default() -> None:
    default = telemetry()
    assert (default.log, default.exporter, default.content, default.propagate) == ("host", "none", False, False)
    assert default == TelemetrySettings()


@pytest.mark.parametrize(
    ("option", "log", "exporter"),
    [
        ("console", "console", "console"),
        ("json", "json", "none"),
        ("otlp", "host", "otlp"),
        ("prometheus", "host", "prometheus"),
    ],
)
def test_an_option_says_where_events_and_figures_go(option: str, log: str, exporter: str) -> None:
    chosen = telemetry(f"telemetry={option}")
    assert (chosen.log, chosen.exporter, chosen.content) == (log, exporter, False)


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("log", "stdout", "host, console, json"),
        ("exporter", "jaeger", "none, console, otlp, prometheus"),
        ("port", "65536", "65535"),
        ("port", "true", "integer"),
        ("content", "3", "bool"),
        ("content_limit", "0", "1"),
        ("host", "''", "at least 1"),
        ("endpoint", "collector:4318", "begins with http"),
        ("endpoint", f"http://user:{KEY}@collector", "OTEL_EXPORTER_OTLP_HEADERS"),
        ("endpoint", f"'http://collector/x?token={KEY}'", "OTEL_EXPORTER_OTLP_HEADERS"),
    ],
)
def test_a_bad_value_is_refused_with_its_key_and_what_is_allowed(key: str, value: str, says: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        compose([f"telemetry.{key}={value}"])
    assert f"telemetry.{key}" in str(refused.value)
    assert says in str(refused.value)
    assert KEY not in str(refused.value) + repr(refused.value.context)


def test_an_endpoints_url_with_a_query_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"endpoint.base_url.*query") as refused:
        compose(["endpoint=compatible", f"endpoint.base_url='http://127.0.0.1:1/?api_key={KEY}'"])
    assert KEY not in str(refused.value)
