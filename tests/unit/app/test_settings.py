"""Settings: names, bounds, and secrets that stay secret."""

import base64
import subprocess
import sys

import pytest
import redis
from pydantic import ValidationError
from sqlalchemy import make_url

from app.settings import DEFAULT_SECRET, Settings, load_settings


def load(monkeypatch: pytest.MonkeyPatch, **variables: str) -> Settings:
    for name, value in variables.items():
        monkeypatch.setenv(f"CLEANCLIP_{name}", value)
    return load_settings()


def test_groups_and_names_are_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load(
        monkeypatch,
        DATABASE__URL="postgresql+psycopg://a:b@db/x",
        STORAGE__SECRET_KEY="k",
        JOBS__LEASE_S="90",
        DATASETS__ALLOWED_PREFIXES='["s3://bucket/data/"]',
        API__PORT="0",
    )
    assert settings.database.url == "postgresql+psycopg://a:b@db/x"
    assert settings.storage.secret_key.get_secret_value() == "k"
    assert (settings.jobs.lease_s, settings.jobs.heartbeat_s) == (90.0, 20.0)
    assert settings.datasets.allowed_prefixes == ("s3://bucket/data/",)
    assert settings.api.port == 0


def test_a_misspelt_name_in_a_group_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValidationError, match="lease"):
        load(monkeypatch, JOBS__LEASE="90")


def test_no_secret_is_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load(
        monkeypatch,
        DATABASE__URL="postgresql+psycopg://a:hush1@db/x",
        BROKER__URL="redis://:hush2@h/0",
        STORAGE__SECRET_KEY="hush3",
    )
    assert "hush" not in repr(settings)
    assert "hush" not in str(settings)


def test_an_error_does_not_show_the_value(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValidationError) as caught:
        load(monkeypatch, API__PORT="hush-not-a-port")
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize("missing", ["STORAGE__SECRET_KEY", "DATABASE__URL"])
def test_production_refuses_a_published_secret(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    given = {"STORAGE__SECRET_KEY": "real", "DATABASE__URL": "postgresql+psycopg://a:real@db/x"}
    del given[missing]
    with pytest.raises(ValidationError, match=f"CLEANCLIP_{missing}"):
        load(monkeypatch, ENVIRONMENT="production", **given)


def test_production_starts_with_secrets_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load(
        monkeypatch,
        ENVIRONMENT="production",
        STORAGE__SECRET_KEY="real",
        DATABASE__URL="postgresql+psycopg://a:real@db/x",
    )
    assert settings.environment == "production"


def test_development_starts_with_nothing_set() -> None:
    assert load_settings().storage.secret_key.get_secret_value() == DEFAULT_SECRET


@pytest.mark.parametrize(
    "prefix",
    [
        "s3://bucket/data",
        "s3:///data/",
        "https://bucket/data/",
        "file:///etc/",
        "/etc/",
        "s3://{project}/data/",
        "s3://bucket/data-{project}/",
        "s3://b/{project}/{project}/",
        "s3://b/{name}/",
    ],
)
def test_a_prefix_that_is_no_folder_in_a_bucket_is_refused(
    monkeypatch: pytest.MonkeyPatch, prefix: str
) -> None:
    with pytest.raises(ValidationError, match="allowed_prefixes"):
        load(monkeypatch, DATASETS__ALLOWED_PREFIXES=f'["{prefix}"]')


def test_a_prefix_of_each_projects_own_must_not_lie_below_a_shared_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own, shared = "s3://bucket/data/{project}/", "s3://bucket/shared/"
    load(monkeypatch, DATASETS__ALLOWED_PREFIXES=f'["{own}", "{shared}"]')
    with pytest.raises(ValidationError, match="opens to all projects"):
        load(monkeypatch, DATASETS__ALLOWED_PREFIXES=f'["{own}", "s3://bucket/data/"]')


@pytest.mark.parametrize("proxy", ["*", "proxy.example", "10.0.0.0/40", ""])
def test_a_trusted_proxy_is_an_address_or_a_network(monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    with pytest.raises(ValidationError, match="trusted_proxies"):
        load(monkeypatch, API__TRUSTED_PROXIES=f'["{proxy}"]')


def test_a_lease_must_outlive_missed_heartbeats(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValidationError, match="three times"):
        load(monkeypatch, JOBS__LEASE_S="30", JOBS__HEARTBEAT_S="20")


def test_a_webhooks_key_is_32_bytes_and_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    key = base64.urlsafe_b64encode(bytes(range(32))).decode()
    settings = load(monkeypatch, WEBHOOKS__ENCRYPTION_KEYS=f'["{key}"]')
    assert settings.webhooks.encryption_keys[0].get_secret_value() == key
    assert key not in repr(settings)
    for wrong in ("hush", key[:-4], "", "é"):
        with pytest.raises(ValidationError, match="32 bytes") as caught:
            load(monkeypatch, WEBHOOKS__ENCRYPTION_KEYS=f'["{wrong}"]')
        assert "hush" not in str(caught.value)


def test_webhooks_go_to_this_machine_in_development_only(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load(monkeypatch, WEBHOOKS__ALLOW_LOOPBACK="true").webhooks.allow_loopback
    given = {"STORAGE__SECRET_KEY": "real", "DATABASE__URL": "postgresql+psycopg://a:real@db/x"}
    with pytest.raises(ValidationError, match="ALLOW_LOOPBACK"):
        load(monkeypatch, ENVIRONMENT="production", **given)


def test_a_claim_must_outlive_a_try_and_a_denied_network_be_one(monkeypatch: pytest.MonkeyPatch) -> None:
    load(monkeypatch, WEBHOOKS__DENIED_NETWORKS='["203.0.113.0/24", "2001:db8::/32"]')
    with pytest.raises(ValidationError, match="denied_networks"):
        load(monkeypatch, WEBHOOKS__DENIED_NETWORKS='["our servers"]')
    monkeypatch.delenv("CLEANCLIP_WEBHOOKS__DENIED_NETWORKS")
    with pytest.raises(ValidationError, match="two times"):
        load(monkeypatch, WEBHOOKS__LEASE_S="20", WEBHOOKS__TIMEOUT_S="15")


def test_download_urls_cannot_be_configured_to_live_longer_than_five_minutes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(ValidationError, match="download_url_expires_s"):
        load(monkeypatch, API__DOWNLOAD_URL_EXPIRES_S="301")


def test_importing_the_settings_builds_none_and_loads_nothing_heavy() -> None:
    code = (
        "import sys, app.settings as s; from pydantic_settings import BaseSettings;"
        "assert not [n for n, v in vars(s).items() if isinstance(v, BaseSettings)];"
        "heavy = {'torch', 'sqlalchemy', 'boto3', 'celery', 'fastapi'} & set(sys.modules);"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("password", ["plain", "a@b:c/d#e?f%20 g", "p'w\"\\é"])
def test_a_password_of_any_characters_stands_apart_from_the_url(
    monkeypatch: pytest.MonkeyPatch, password: str
) -> None:
    monkeypatch.setenv("CLEANCLIP_DATABASE__URL", "postgresql+psycopg://api_login@db:5432/cleanclip")
    monkeypatch.setenv("CLEANCLIP_DATABASE__PASSWORD", password)
    monkeypatch.setenv("CLEANCLIP_BROKER__URL", "redis://api@valkey:6379/0")
    monkeypatch.setenv("CLEANCLIP_BROKER__PASSWORD", password)
    settings = load_settings()
    database = make_url(settings.database.url)
    assert (database.username, database.password) == ("api_login", password)
    assert (database.host, database.port, database.database) == ("db", 5432, "cleanclip")
    broker = redis.connection.parse_url(settings.broker.url)
    assert (broker["username"], broker["password"], broker["host"]) == ("api", password, "valkey")
    assert password not in repr(settings)


def test_a_password_alone_takes_the_place_of_the_one_for_development(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLEANCLIP_DATABASE__PASSWORD", "p@ss")
    assert make_url(load_settings().database.url).password == "p@ss"


def test_two_passwords_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLEANCLIP_BROKER__URL", "redis://:one@valkey:6379/0")
    monkeypatch.setenv("CLEANCLIP_BROKER__PASSWORD", "two")
    with pytest.raises(ValidationError, match="two passwords"):
        load_settings()
