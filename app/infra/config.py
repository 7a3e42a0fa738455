"""Settings, read once from the environment by the composition root and passed down."""

from pathlib import Path

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

PROJECT_ROOT = Path(__file__).resolve().parents[2]


class Config(BaseSettings):
    """All settings. Each is `SAUDA_` plus the upper-case name in the environment; secrets have no default."""

    model_config = SettingsConfigDict(env_prefix="SAUDA_", extra="ignore", frozen=True)

    database_url: SecretStr = Field(description="postgresql+asyncpg://user:password@host:port/name")
    redis_url: SecretStr = Field(description="redis://host:port/db")
    secret_key: SecretStr = Field(min_length=32, description="Signs API tokens and encrypts stored credentials")

    api_host: str = "127.0.0.1"
    api_port: int = Field(default=8000, ge=1, le=65535)
    exchange_host: str = "127.0.0.1"
    exchange_port: int = Field(default=8010, ge=1, le=65535)
    exchange_control_key: SecretStr = Field(
        default=SecretStr(""), description="Shared secret of the paper exchange's control endpoints"
    )
    data_dir: Path = PROJECT_ROOT / "data"
    log_level: str = "INFO"
    log_format: str = Field(default="json", pattern="^(json|console)$")

    token_ttl_minutes: int = Field(default=720, ge=1, le=24 * 60)
    db_pool_size: int = Field(default=10, ge=1, le=100)
    # Few, because an urgent order shares the processor with those under way; more only where brokers answer slowly.
    worker_slots: int = Field(default=8, ge=2, le=1000, description="Commands that one worker runs at once")
    worker_priority_slots: int = Field(default=4, ge=1, le=999, description="Of these, kept for the priority lane")
    send_window_s: float = Field(default=3.0, gt=0, description="How long after its claim an order may be sent")
    claim_margin_s: float = Field(default=1.0, gt=0, description="Past send_by by this much, a claim is dead")
    drain_s: float = Field(default=20.0, gt=0, description="How long a stopping worker lets its commands finish")
    lease_ttl_s: float = Field(default=5.0, gt=0, description="How long a leader's lease lasts without renewal")

    @property
    def exchange_url(self) -> str:
        """Base URL of the paper exchange."""
        return f"http://{self.exchange_host}:{self.exchange_port}"


def explain(error: ValidationError) -> str:
    """Return one line that names the settings that are missing or wrong, without their values."""
    problems = ", ".join(f"SAUDA_{str(item['loc'][0]).upper()}: {item['msg']}" for item in error.errors())
    return f"settings are missing or wrong: {problems}. scripts/run sets all of them"
