"""Rows of a finished job that are sent again, and what is changed before they are."""
