-- Passes a bell on that nobody answered.
local model = ARGV[1]
for _, lane in ipairs(redis.call('HMGET', queue_of(model), unpack(LANES))) do
  if lane and tonumber(lane) > 0 then return ring_for(model) end
end
