-- Reads a record, and has the node told of its end if that is still to come. Nothing for what is not
-- known any more; an empty one for what is not there at all.
local id, wall, node = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local status = fields(id, 'status')
if not status then return {} end
if not is_known(id, wall) then return nil end
if not TERMINAL[status] then enroll(id, 'waiting', node) end
return redis.call('HGETALL', record_of(id))
