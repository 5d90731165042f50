"""`winnow db`: the schema of a service's database. The embedded mode upgrades its own when it starts."""

from __future__ import annotations

import typer

from cli.database import DatabaseUrl, usable

app = typer.Typer(
    name="db", help="Upgrade or check the database of a service.", no_args_is_help=True
)


@app.command()
def upgrade(database_url: DatabaseUrl) -> None:
    """Apply every migration that the database lacks. Safe to repeat."""
    from winnow.store import migrate

    with usable():
        migrate.upgrade(database_url)
    print("the database is up to date")


@app.command()
def check(database_url: DatabaseUrl) -> int:
    """Say whether migrations are missing; exit code 1 if they are."""
    from winnow.store import migrate

    with usable():
        pending = migrate.pending(database_url)
    print("migrations are missing: winnow db upgrade" if pending else "the database is up to date")
    return int(pending)
