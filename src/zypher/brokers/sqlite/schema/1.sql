-- The queue's file, version 1. A new file is made by running these scripts in order, an older
-- one is brought up to date by those that it has not seen; PRAGMA user_version tells which.
--
-- To look into a file that no server has open:
--   sqlite3 -readonly zypher.db "SELECT status, count(*) FROM prediction GROUP BY status"

-- One row for each prediction that is kept, from its acceptance until it expires.
CREATE TABLE prediction (
    seq             INTEGER PRIMARY KEY,        -- its place in the queue: order of acceptance
    id              TEXT NOT NULL UNIQUE,       -- UUID version 7, what clients know it by
    model           TEXT NOT NULL,
    priority        INTEGER NOT NULL,           -- its lane: 0 high, 1 normal, 2 low
    status          TEXT NOT NULL
                    CHECK (status IN ('queued', 'processing', 'completed', 'failed', 'canceled')),
    attempt         INTEGER NOT NULL,           -- the fencing token: grows with every claim
    crashes         INTEGER NOT NULL,           -- runs that died with their process
    company         INTEGER,                    -- a suspect's bound on those it may run with
    size            INTEGER NOT NULL,           -- bytes of input and options
    created         REAL NOT NULL,              -- all times: seconds since the epoch
    started         REAL,
    finished        REAL,
    expires         REAL,                       -- when it may be forgotten; set at its end
    failure         TEXT,                       -- JSON: code, detail, errors
    owner           TEXT,
    options         BLOB NOT NULL,              -- JSON
    traceparent     TEXT,
    retry_of        TEXT,
    idempotency_key TEXT,
    fingerprint     BLOB,
    retried         INTEGER NOT NULL,           -- runs repeated because the model raised
    not_before      REAL,                       -- when the next of them may begin
    signature       TEXT,                       -- of the model that admitted the input
    misfits         INTEGER NOT NULL,           -- runs in which another signature refused it
    due             REAL                        -- of a queued one: when its first clock runs out
) STRICT;

-- What waits, in the order in which it is claimed; covers what the start has to count.
CREATE INDEX prediction_queued ON prediction (model, priority, seq, size)
    WHERE status = 'queued';

-- What the start after a crash has to give back.
CREATE INDEX prediction_processing ON prediction (seq) WHERE status = 'processing';

-- What waits in vain: nobody claimed it in time.
CREATE INDEX prediction_due ON prediction (due) WHERE due IS NOT NULL AND status = 'queued';

-- One prediction for each idempotency key of an owner.
CREATE UNIQUE INDEX prediction_key ON prediction (ifnull(owner, ''), idempotency_key)
    WHERE idempotency_key IS NOT NULL;

-- What the janitor forgets next.
CREATE INDEX prediction_expires ON prediction (expires) WHERE expires IS NOT NULL;

-- The large values live apart: updating a row rewrites all of it.
CREATE TABLE input (seq INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT;
CREATE TABLE result (seq INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT;

-- One row for each webhook that has to be called, from the end of its prediction until it was.
CREATE TABLE outbox (
    seq      INTEGER PRIMARY KEY,               -- the place of its prediction
    due      REAL NOT NULL,                     -- when to call it
    host     TEXT NOT NULL,                     -- who is called
    failures INTEGER NOT NULL                   -- how often it was tried in vain
) STRICT;

-- Which is called next; covers what passes over a host that is busy.
CREATE INDEX outbox_due ON outbox (due, seq, host);

-- What is true of the file as a whole: one row.
CREATE TABLE file (
    one   INTEGER PRIMARY KEY CHECK (one = 1),
    boots INTEGER NOT NULL,                     -- how often a server has opened it
    clean INTEGER NOT NULL,                     -- 1 if the last one closed it in order
    beats INTEGER NOT NULL                      -- counts writes that only try the disk
) STRICT;
INSERT INTO file VALUES (1, 0, 1, 0);
