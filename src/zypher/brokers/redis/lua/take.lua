-- Reads the record of what has ended, for those who wait at a node; what nobody kept is theirs alone.
local id, node = ARGV[1], ARGV[2]
local status = fields(id, 'status')
if not status or not TERMINAL[status] then return nil end
hand_over(id, node)
return redis.call('HGETALL', record_of(id))
