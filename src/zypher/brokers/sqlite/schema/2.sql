-- Version 2: predictions have owners, the API keys that they came with.

-- What an owner may see, the newest first.
CREATE INDEX prediction_owner ON prediction (owner, id) WHERE owner IS NOT NULL;

-- What waits of each owner; covers what the start has to count.
CREATE INDEX prediction_owned ON prediction (owner) WHERE status = 'queued' AND owner IS NOT NULL;
