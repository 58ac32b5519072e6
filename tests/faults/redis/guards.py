"""The guards of the redis broker."""

from tests.faults.guards import Guard

_LUA = "brokers/redis/lua"

GUARDS = (
    Guard(
        "a lease that is not renewed runs out",
        "redis-killed-workers",
        f"{_LUA}/late.lua",
        "records[#records + 1], records[#records + 2] = id, record",
        "redis.call('PING')",
    ),
    Guard(
        "leases over Redis are renewed for runs that go on",
        "redis-held-interpreter",
        f"{_LUA}/renew.lua",
        "if holds then redis.call('ZADD', 'zypher:leases', beat, id) end",
        "",
    ),
    Guard(
        "a stopped worker lets its runs end",
        "redis-restarts",
        "worker/worker.py",
        "await self._claims.empty()",
        "pass",
    ),
    Guard(
        "a call that was not answered is made again",
        "redis-killed",
        "brokers/redis/link.py",
        "if now() + pause >= deadline:",
        "if True:",
    ),
    Guard(
        "between two tries is a pause",
        "redis-away",
        "brokers/redis/link.py",
        "await asyncio.sleep(pause * random.uniform(0.5, 1.0))",
        "await asyncio.sleep(0)",
    ),
    Guard(
        "what callers wait for is submitted again",
        "redis-emptied",
        "brokers/redis/waits.py",
        "await self.submit(again, keep=keep, waits=True)",
        "pass",
    ),
    Guard(
        "a stream that was deleted is made anew from the records",
        "redis-emptied",
        f"{_LUA}/claim.lua",
        "        repair(lane)\n",
        "",
    ),
    Guard(
        "a move that is sent twice is made once",
        "redis-partitions",
        f"{_LUA}/move.lua",
        "if last == move then",
        "if false then",
    ),
    Guard(
        "what a worker never heard that it got is given back",
        "redis-partitions",
        "brokers/redis/runs.py",
        "self._doubtful.add(worker)",
        "pass",
    ),
    Guard(
        "somebody looks for what lost news would have told",
        "redis-lost-news",
        "brokers/redis/waits.py",
        "_SWEEP_INTERVAL = 1.0",
        "_SWEEP_INTERVAL = 100.0",
    ),
    Guard(
        "a queue in Redis is bounded",
        "redis-overload",
        f"{_LUA}/submit.lua",
        "if queued >= max_queued then return { 'full', 'max-queued' } end",
        "",
    ),
    Guard(
        "what ends work may use memory when there is none",
        "redis-full-memory",
        "brokers/redis/scripts.py",
        '" flags=allow-oom"',
        '""',
    ),
    Guard(
        "a canceled run elsewhere is told to end",
        "redis-cancels",
        f"{_LUA}/move.lua",
        "if from == 'processing' and insists ~= '' then withdraw(id, insists) end",
        "",
    ),
    Guard(
        "the fence in Redis: only the latest attempt ends it",
        "redis-duplicates",
        f"{_LUA}/move.lua",
        "status ~= from or now_at ~= attempt or gone",
        "status ~= from or gone",
    ),
    Guard(
        "an entry that is there twice is passed over",
        "redis-duplicates",
        f"{_LUA}/common.lua",
        "and its == entry then",
        "then",
    ),
    Guard(
        "leases over Redis do not follow the wall clock",
        "redis-clock-jumps",
        "brokers/redis/runs.py",
        "self._beats.expired(self._clock.steady())",
        "self._beats.expired(self._clock.wall() - 1_799_999_000)",
    ),
)
