"""What people get: finished files, tables, statistics and samples to review."""
