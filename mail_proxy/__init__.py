"""mail-proxy: the server between applications and SMTP providers."""

__version__ = "0.1.0"
