"""Celery workers: one handler a kind of work, under leases of the database. Knows `winnow`, never the gateway."""
