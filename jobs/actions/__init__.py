"""What people do to jobs, a module for each kind of thing. Pages and commands call these."""
