"""What is kept: tables in Postgres, and files in a blob store.

Functions take a connection inside a transaction (`session.Database.transaction`) first, and never commit. Those that
the gateway calls take an `owner`, and what belongs to another owner does not exist for them.
"""
