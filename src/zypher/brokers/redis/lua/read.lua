-- Reads a record. A script, and no bare command, since a primary that has become a replica refuses
-- it: what a replica has may be old.
return redis.call('HGETALL', 'zypher:p:' .. ARGV[1])
