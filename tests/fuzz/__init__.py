"""Hostile bytes against a real server, and what they reach in it."""
