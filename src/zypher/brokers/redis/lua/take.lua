-- Reads the record of what has ended, for those who wait; what nobody kept is theirs alone.
local id = ARGV[1]
local status, gone = fields(id, 'status', 'gone')
if not status or not TERMINAL[status] or gone == 'forgotten' then return nil end
local record = redis.call('HGETALL', record_of(id))
if gone == 'offered' then hand_over(id) end
return record
