"""Replicas: child processes that have loaded one model each, and the pool that keeps them alive."""
