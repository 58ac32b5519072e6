"""Fault tests of many servers and workers over one Redis, every one of them a real process."""
