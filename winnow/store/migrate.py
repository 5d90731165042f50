"""Bring a database to the schema of this version. Safe to call from several processes at once."""

from __future__ import annotations

from importlib.resources import files

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, NullPool, create_engine, func, select

_LOCK = 0x77696E6E6F77
"""Number of the advisory lock that one migrating process holds; no other meaning."""


def upgrade(url: str, revision: str = "head") -> None:
    """Apply the migrations that are missing, all of them or none.

    A second caller waits for the first one and then finds nothing to do.
    """
    engine = _engine(url)
    with engine.begin() as conn:
        _lock(conn)
        command.upgrade(_config(conn), revision)
    engine.dispose()


def downgrade(url: str, revision: str) -> None:
    """Take migrations back, down to `revision`; `base` is an empty database."""
    engine = _engine(url)
    with engine.begin() as conn:
        _lock(conn)
        command.downgrade(_config(conn), revision)
    engine.dispose()


def pending(url: str) -> bool:
    """Whether the database lacks migrations."""
    engine = _engine(url)
    with engine.connect() as conn:
        heads = set(MigrationContext.configure(conn).get_current_heads())
        missing = heads != set(ScriptDirectory.from_config(_config(conn)).get_heads())
    engine.dispose()
    return missing


def _engine(url: str) -> Engine:
    return create_engine(url, poolclass=NullPool)


def _lock(conn: Connection) -> None:
    conn.execute(select(func.pg_advisory_xact_lock(_LOCK)))


def _config(conn: Connection) -> Config:
    config = Config()
    # The package is found where it is installed; a percent sign in the path is not an interpolation.
    config.set_main_option("script_location", str(files("migrations")).replace("%", "%%"))
    config.attributes["connection"] = conn
    return config
