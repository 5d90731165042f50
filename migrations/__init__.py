"""Alembic migrations, installed with the package: `winnow db upgrade` applies them."""
