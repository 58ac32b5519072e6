-- Reads a record and the events behind those that were seen: {record, entries, last entry}. The
-- node is told of all that is new. `to_the_end`: somebody has followed it, and is told its end also
-- if it is forgotten already.
local id, wall, node, to_the_end = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4] == '1'
local seen_attempt, seen_sequence = ARGV[5], ARGV[6]
local status, attempt = fields(id, 'status', 'attempt')
if not status or not (to_the_end or is_known(id, wall)) then return nil end
if not TERMINAL[status] then enroll(id, 'watching', node) end
local events = events_of(id)
local after = seen_attempt == attempt and seen_sequence or '0'
local entries = redis.call('XRANGE', events, '(' .. attempt .. '-' .. after, attempt .. '-18446744073709551615')
return { redis.call('HGETALL', record_of(id)), entries, redis.call('XREVRANGE', events, '+', '-', 'COUNT', 1) }
