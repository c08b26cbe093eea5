"""A configuration read anew: what of it counts at once, and what waits for a restart."""

from __future__ import annotations

from mail_proxy.config import Config, load_config, reload_config


class TestReload:
    def test_takes_what_can_change_and_names_the_rest(self) -> None:
        """The port needs a restart, the log level does not."""
        current = load_config(None, {"GMP_PORT": "1", "GMP_LOG_LEVEL": "INFO", "GMP_MAX_RETRIES": "3"})
        fresh = load_config(None, {"GMP_PORT": "2", "GMP_LOG_LEVEL": "DEBUG"})
        config, need_restart = reload_config(current, fresh)
        assert (config.port, config.log_level, config.max_retries) == (1, "DEBUG", 5)
        assert need_restart == ("port",)
        assert (config.source("port"), config.source("max_retries")) == ("environment GMP_PORT", "default")

    def test_nothing_changed_is_the_same_config(self) -> None:
        assert reload_config(Config(), Config()) == (Config(), ())
