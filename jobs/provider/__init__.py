"""Anthropic's API: the only part of the site that talks to it."""
