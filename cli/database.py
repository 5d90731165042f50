"""A service's database from the command line: what is wrong with it is said in one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from winnow.errors import ConfigurationError

if TYPE_CHECKING:
    from sqlalchemy import Connection

DatabaseUrl = Annotated[
    str,
    typer.Option(
        "--database-url", envvar="WINNOW_DATABASE_URL", help="postgresql+psycopg://user@host/name"
    ),
]


@contextmanager
def usable() -> Iterator[None]:
    """Turn what a database that cannot be used raises into a `ConfigurationError` that says why."""
    from sqlalchemy.exc import ArgumentError, OperationalError, ProgrammingError

    try:
        yield
    except (ArgumentError, ModuleNotFoundError) as error:  # the second: a database of another kind
        raise ConfigurationError(
            f"The database URL cannot be read ({error}). Write postgresql+psycopg://user@host/name."
        ) from error
    except OperationalError as error:
        raise ConfigurationError(f"The database does not answer: {error.orig}") from error
    except ProgrammingError as error:
        raise ConfigurationError(
            "The database lacks migrations. Run `winnow db upgrade` first."
        ) from error


@contextmanager
def transaction(database_url: str) -> Iterator[Connection]:
    """One transaction on a connection of its own."""
    from winnow.store.session import Database

    with usable():
        database = Database(database_url, pool_size=1)
        try:
            with database.transaction() as connection:
                yield connection
        finally:
            database.dispose()
