-- Nobody waits for a prediction at this node any more. `reads`: its record, which nobody else gets
-- if it has ended and nobody kept it.
local id, wall, node, reads = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4] == '1'
if not reads then return dismiss(id, 'waiting', node) end
hand_over(id, node)
if not fields(id, 'gone') and not is_known(id, wall) then return nil end
return redis.call('HGETALL', record_of(id))
