"""Webhooks out: who is told that a run or fine-tune is over, what was sent, and what it is signed with."""
