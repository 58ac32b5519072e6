"""The whole for a long time, with all that is done to it in production, and what it takes up."""
