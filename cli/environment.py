"""Settings for a command: the WINNOW_* variables, and what the command line says instead."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from winnow.errors import ConfigurationError

if TYPE_CHECKING:
    from winnow.settings import Settings


def read_settings(**given: Any) -> Settings:
    """The settings; options that were not given (None) are left to the environment. Raises as `settings_with`."""
    return settings_with(**{name: value for name, value in given.items() if value is not None})


def settings_with(**values: Any) -> Settings:
    """The settings with these values, None among them, whatever the environment says of them.

    Raises:
        ConfigurationError: a variable has a value that it cannot have, or variables contradict each other.
    """
    from pydantic import ValidationError

    from winnow.settings import Settings

    try:
        return Settings(**values)
    except ValidationError as error:
        first = error.errors()[0]
        name = "WINNOW_" + "_".join(str(part) for part in first["loc"]).upper()
        raise ConfigurationError(f"{name}: {first['msg']}; got {first['input']!r}.") from error
