"""A pretend provider: a small HTTP server that speaks the Message Batches API, with no model in it.

It answers in practice mode and runs as a process of its own:
`python -m jobs.simulator --port 8790 --data some/directory`.
It costs nothing and sends nothing anywhere.
"""
