"""What `manage.py job` understands (options.py), and what it tells programs (facts.py)."""
