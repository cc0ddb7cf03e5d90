"""A service that is told something wrong does not start, and says in one line what it is."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.local.stack import LocalStack
from services.gateway.settings import Settings as GatewaySettings
from services.kit.settings import ServiceSettings
from services.payment.settings import PaymentSettings

RIGHT = {
    "DATABASE_URL": "postgresql://orders@db:5432/orders",
    "KAFKA_BOOTSTRAP_SERVERS": "kafka-1:9092,[::1]:9092",
    "STRIPE_SECRET_KEY": "sk_test_abc",
    "STRIPE_WEBHOOK_SECRET": "whsec_abc",
    "JWT_SECRET": "a" * 32,
}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """All is right, but for what a test changes."""
    monkeypatch.setenv("SECRETS_FOLDER", str(tmp_path))
    for name, value in RIGHT.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(
    ("settings", "name", "value", "line"),
    [
        (ServiceSettings, "DATABASE_URL", None, "setting DATABASE_URL: Field required"),
        (ServiceSettings, "DATABASE_URL", "db:5432", "DATABASE_URL must be postgresql://"),
        (ServiceSettings, "KAFKA_BOOTSTRAP_SERVERS", "kafka", "must be host:port"),
        (ServiceSettings, "KAFKA_BOOTSTRAP_SERVERS", "k:1,http://k:2", "not ['http://k:2']"),
        (ServiceSettings, "BATCH_SIZE", "many", "setting BATCH_SIZE: Input should be a valid int"),
        (PaymentSettings, "STRIPE_SECRET_KEY", None, "STRIPE_SECRET_KEY must be a secret"),
        (PaymentSettings, "STRIPE_SECRET_KEY", "sk_live_abc", "PRODUCTION is not set"),
        (GatewaySettings, "STRIPE_WEBHOOK_SECRET", None, "setting STRIPE_WEBHOOK_SECRET: Field"),
        (GatewaySettings, "JWT_SECRET", None, "set either JWT_SECRET or JWKS_URL"),
        (GatewaySettings, "JWT_SECRET", "short", "JWT_SECRET needs at least 32 bytes"),
    ],
)
def test_one_wrong_setting_is_one_line(
    settings: type[ServiceSettings],
    name: str,
    value: str | None,
    line: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    settings.from_environment()
    if value is None:
        monkeypatch.delenv(name)
    else:
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as stopped:
        settings.from_environment()
    assert stopped.value.code == 78
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 2, told
    assert line in told[0]
    assert "start again" in told[1]
    assert "sk_live_abc" not in told[0]


def test_secrets_come_from_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A password may hold what an address may not."""
    for name in ("STRIPE_SECRET_KEY", "DATABASE_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "stripe_secret_key").write_text("rk_test_file\n")
    (tmp_path / "database_password").write_text("p@ss/w:rd\n")
    settings = PaymentSettings.from_environment()
    assert settings.stripe_secret_key.get_secret_value() == "rk_test_file"
    assert settings.database_url == "postgresql://orders:p%40ss%2Fw%3Ard@db:5432/orders"


def test_the_owner_of_a_database_has_a_secret_of_its_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "database_password").write_text("of the runtime\n")
    (tmp_path / "migrations_database_password").write_text("of the owner\n")
    monkeypatch.setenv("MIGRATIONS_DATABASE_URL", "postgresql://ops@db:5432/ops")
    settings = ServiceSettings.from_environment()
    assert settings.database_url == "postgresql://orders:of%20the%20runtime@db:5432/orders"
    assert settings.owner_url == "postgresql://ops:of%20the%20owner@db:5432/ops"


@pytest.mark.parametrize("setting", ["DATABASE_URL", "MIGRATIONS_DATABASE_URL"])
def test_a_database_that_refuses_the_password_stops_the_start(
    servers: LocalStack, setting: str
) -> None:
    address = servers.postgres["inventory"].rpartition("@")[2]
    done = subprocess.run(
        [sys.executable, "-m", "services.inventory"],
        env={
            **os.environ,
            "DATABASE_URL": servers.postgres["inventory"],
            setting: f"postgresql://inventory:wrong@{address}",
            "KAFKA_BOOTSTRAP_SERVERS": servers.kafka,
        },
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 78, done.stderr
    assert done.stderr.splitlines() == [
        f'setting {setting}: password authentication failed for user "inventory"',
        "Correct these settings and start again.",
    ]


def test_a_database_that_is_away_is_waited_for_until_sigterm() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "services.inventory"],
        env={**os.environ, "DATABASE_URL": "postgresql://inventory@127.0.0.1:1/inventory"},
        stderr=subprocess.PIPE,
        text=True,
    ) as waiting:
        assert waiting.stderr is not None
        try:
            assert "waiting for the database" in waiting.stderr.readline()
            waiting.terminate()
            assert waiting.wait(timeout=15) == 0
        finally:
            waiting.kill()
        assert "stopped while waiting" in waiting.stderr.readlines()[-1]
