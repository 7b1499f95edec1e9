"""The site. Its version lives here and nowhere else."""

__version__ = "0.1.0"
