"""Webhooks: what an owner's receiver is told, where it may be, and how one message is handed over.

Nothing here knows the database; what is delivered to whom, and how often, stands in `winnow.store.webhooks`.
"""
