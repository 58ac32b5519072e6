"""`python -m zypher` is the command line."""

from zypher.cli import main

main()
