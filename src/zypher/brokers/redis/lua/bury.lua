-- Takes a worker out of the registry, and out of the consumers unless it still holds something: then
-- it stays among those that are not heard of, and is buried again.
local worker = ARGV[1]
redis.call('HDEL', 'zypher:workers', worker)
redis.call('DEL', 'zypher:withdrawn:' .. worker)
local holds = false
for _, model in ipairs(redis.call('SMEMBERS', 'zypher:queues')) do
  for _, lane in ipairs(LANES) do
    local pending = redis.pcall('XPENDING', lane_of(model, lane), GROUP, '-', '+', 1, worker)
    if not pending.err and #pending > 0 then
      holds = true
    elseif not pending.err then
      redis.call('XGROUP', 'DELCONSUMER', lane_of(model, lane), GROUP, worker)
    end
  end
end
if not holds then
  redis.call('ZREM', 'zypher:workers:beats', worker)
  redis.call('HDEL', 'zypher:doubts', worker)
end
