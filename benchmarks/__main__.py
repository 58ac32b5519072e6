"""The same work over HTTP, side by side with what one would use instead.

    ./run benchmark [ROW ...] [--rounds 3] [--seconds 5] [--jobs 10000] [--only SYSTEM ...]

Every system does the same trivial work, gets the same requests over connections that stay open,
and takes its turn in each round. Every figure is the median of the rounds, but for errors, which
are those of all rounds. `raw` is an ASGI application that does nothing but answer, on uvicorn with
uvloop and httptools: what the others could reach. Each row's file says what it measures, and what
`raw` does in it.

Needs two cores, `taskset`, and `wrk` on the PATH; the row `redis` needs `redis-server`. The peers
are installed with uv into environments of their own below ~/.cache; what cannot be installed is
left out, and said.
"""

import argparse
import os
import platform
from collections.abc import Callable

from benchmarks.rows import calls, costs, flight, floats, jobs, long_queue, start
from benchmarks.systems import SYSTEMS
from benchmarks.tables import Bench

ROWS: dict[str, Callable[[Bench], None]] = {
    "echo": calls.echo,
    "nap": calls.nap,
    "batched": calls.batched,
    "durable": jobs.durable,
    "redis": jobs.redis,
    "start": start.start,
    "flight": flight.flight,
    "floats": floats.floats,
    "costs": costs.costs,
    "long_queue": long_queue.long_queue,
}


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="./run benchmark",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("rows", nargs="*", metavar="ROW", help=", ".join(ROWS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=5, help="how long each is asked in a round")
    parser.add_argument("--jobs", type=int, default=10_000, help="of the rows durable and redis")
    names = [system.name for system in SYSTEMS]
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="SYSTEM")
    wanted = parser.parse_args()
    if unknown := set(wanted.rows) - ROWS.keys():
        parser.error(f"There is no row {', '.join(sorted(unknown))}. Rows: {', '.join(ROWS)}.")
    print(f"Python {platform.python_version()} on {os.cpu_count()} cores, {wanted.rounds} rounds")
    bench = Bench(wanted.only, wanted.rounds, wanted.seconds, wanted.jobs)
    for row in wanted.rows or ROWS:
        ROWS[row](bench)


if __name__ == "__main__":
    main()
