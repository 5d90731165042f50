"""`winnow keys`: who may use a service."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import Annotated

import typer

from cli.database import DatabaseUrl, transaction

app = typer.Typer(
    name="keys", help="Make, list and revoke API keys of a service.", no_args_is_help=True
)


@app.command()
def create(
    owner: Annotated[str, typer.Option(help="Whom the key speaks for; owners see only their own.")],
    database_url: DatabaseUrl,
) -> None:
    """Make a key and print it once; only its hash is kept."""
    from winnow.store.keys import create_key

    with transaction(database_url) as connection:
        key = create_key(connection, owner=owner)
    print(key)
    print(
        "Keep it now: it cannot be shown again. Send it as 'Authorization: Bearer KEY'.",
        file=sys.stderr,
    )


@app.command("list")
def list_all(
    database_url: DatabaseUrl,
    owner: Annotated[str | None, typer.Option(help="Only the keys of this owner.")] = None,
) -> None:
    """List keys by id and by how they start, never the keys themselves."""
    from winnow.store.keys import list_keys

    with transaction(database_url) as connection:
        for key in list_keys(connection, owner=owner):
            made = datetime.fromtimestamp(key.created_at, UTC).strftime("%Y-%m-%d")
            state = "active" if key.revoked_at is None else "revoked"
            print(f"{key.id}  {key.hint}...  {made}  {state:<7}  {key.owner}")


@app.command()
def revoke(
    key_id: Annotated[str, typer.Argument(help="Id of the key, as `winnow keys list` shows it.")],
    database_url: DatabaseUrl,
) -> None:
    """Refuse a key from now on."""
    from winnow.store.keys import revoke_key

    with transaction(database_url) as connection:
        revoke_key(connection, key_id=key_id)
    print(f"{key_id} is revoked")
