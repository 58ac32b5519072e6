"""Fault tests: real processes, real faults, and a history that is checked afterwards.

`./run test` runs every fault at small size; `./run faults` at full size, and prints a table;
`./run faults --prove` shows that each fault test finds what it is there to find.
"""
