"""For arq's own command line: `arq app.queue.worker_settings.WorkerSettings --check` tells whether a worker lives.

It names no job, so that it cannot start arq's stock worker on the order lanes.
"""

from arq.connections import RedisSettings
from pydantic import SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from app.core.orders import Lane
from app.infra.redis import is_sentinel_url, parse_sentinel_url
from app.queue.lanes import HEALTH_KEY, lane_keys


class _RedisAddress(BaseSettings):
    """The one setting that the check needs; it must work where the other secrets are not set."""

    model_config = SettingsConfigDict(env_prefix="SAUDA_", extra="ignore")

    redis_url: SecretStr = SecretStr("redis://127.0.0.1:6379/0")


def arq_settings(url: str) -> RedisSettings:
    """Return arq's settings for a URL of ours."""
    if is_sentinel_url(url):
        address = parse_sentinel_url(url)
        settings = RedisSettings(
            host=list(address.sentinels),
            sentinel=True,
            sentinel_master=address.service,
            database=address.database,
            username=address.username,
            password=address.password,
            ssl=address.tls,
        )
    else:
        settings = RedisSettings.from_dsn(url)
    settings.conn_retries = 1
    return settings


class WorkerSettings:
    """What `arq --check` reads."""

    redis_settings = arq_settings(_RedisAddress().redis_url.get_secret_value())
    queue_name = lane_keys(Lane.STANDARD).ready
    health_check_key = HEALTH_KEY
