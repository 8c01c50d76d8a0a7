"""Settings from one file and the environment, read once at start."""

from config.settings import Settings, SettingsError, load

__all__ = ["Settings", "SettingsError", "load"]
