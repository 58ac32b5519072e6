-- Nobody waits for a prediction at this node any more. `reads`: its record, which nobody else gets
-- if it has ended and nobody kept it.
local id, wall, node, reads = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4] == '1'
dismiss(id, 'waiting', node)
if not reads then return nil end
local gone = fields(id, 'gone')
if not is_known(id, wall) and gone ~= 'offered' and gone ~= 'taken' then return nil end
local record = redis.call('HGETALL', record_of(id))
if gone == 'offered' then hand_over(id) end
return record
