"""What runs in the background: the sweep, the tally of each job, backups and the queue."""
