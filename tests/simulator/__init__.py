"""The simulator as tests use it: with faults that they order, knobs that they turn, and the truth
about what arrived. Run as `python -m tests.simulator`.

It extends the simulator of practice mode, which has none of this, and serves it at addresses that
begin with an underscore. Its own tests stand beside it.
"""
