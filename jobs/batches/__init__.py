"""Sending batches once, watching them, and bringing their results to our disk."""
