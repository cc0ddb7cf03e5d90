"""Settings of the notification service, from environment variables."""

from typing import Literal

from pydantic import Field, SecretStr, field_validator

from services.kit.settings import ServiceSettings


class NotificationSettings(ServiceSettings):
    smtp_host: str = Field(description="the mail server")
    smtp_port: int = Field(default=587, ge=1, le=65535)
    smtp_security: Literal["starttls", "tls", "none"] = Field(
        default="starttls", description="none is for a server on the same machine"
    )
    smtp_username: str = Field(default="", description="empty: no login")
    smtp_password: SecretStr = SecretStr("")
    smtp_timeout_seconds: float = Field(
        default=10, gt=0, description="of one mail; its lease is twice as long"
    )
    smtp_connections: int = Field(default=8, ge=1, le=100, description="mails sent at once")
    mail_from: str = Field(
        pattern=r"^[^@\s]+@[^@\s]+$", description="the sender's address; its domain ends Message-ID"
    )
    shop_name: str = Field(default="The shop", description="as mails call it")
    order_url: str = Field(
        default="", description="of an order's page, with `{order_id}` in it; empty: no link"
    )
    mail_news_hours: float = Field(
        default=48,
        gt=0,
        description="older news is not sent any more. As long as `customer.contacts` is kept",
    )
    contact_retention_days: float = Field(
        default=30,
        gt=2,
        description="an address is deleted when its order has not changed for this long",
    )

    @field_validator("order_url")
    @classmethod
    def _url_names_the_order(cls, url: str) -> str:
        if url and (not url.startswith(("https://", "http://")) or "{order_id}" not in url):
            raise ValueError("ORDER_URL must be a web address with {order_id} in it")
        return url
