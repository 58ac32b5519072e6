-- Forgets an ended prediction: 1, 0 if it is unknown, -1 if it has not ended.
local id, wall = ARGV[1], tonumber(ARGV[2])
if not is_known(id, wall) then return 0 end
if not TERMINAL[fields(id, 'status')] then return -1 end
forget(id)
ring_for_delivery()
return 1
