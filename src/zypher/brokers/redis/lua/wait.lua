-- Reads a record, and has the node told of its end if that is still to come.
local id, wall, node = ARGV[1], tonumber(ARGV[2]), ARGV[3]
if not is_known(id, wall) then return nil end
if not TERMINAL[fields(id, 'status')] then enroll(id, 'waiting', node) end
return redis.call('HGETALL', record_of(id))
