"""Instruction data in, and out again as it came."""
