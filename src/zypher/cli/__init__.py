"""The command line. `app` knows the commands; each is a function of a module of its own.

What a command needs is imported when it is asked for: `--help`, `health` and `ls` must not wait
for what only `serve` needs.
"""
