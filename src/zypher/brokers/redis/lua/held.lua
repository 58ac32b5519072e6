-- The claims that Redis knows of a worker, by its pending entries: {id, attempt}. There will be no more
-- of those that it has asked for before it had so many doubts.
local worker, held = ARGV[1], {}
redis.call('HSET', 'zypher:doubts', worker, ARGV[2])
for _, model in ipairs(redis.call('SMEMBERS', 'zypher:queues')) do
  for _, lane in ipairs(LANES) do
    local pending = redis.pcall('XPENDING', lane_of(model, lane), GROUP, '-', '+', 10000, worker)
    if not pending.err then
      for _, entry in ipairs(pending) do
        local found = redis.call('XRANGE', lane_of(model, lane), entry[1], entry[1])[1]
        local id = found and found[2][2]
        local status, by, attempt = false, false, false
        if id then status, by, attempt = fields(id, 'status', 'worker', 'attempt') end
        if status == 'processing' and by == worker then held[#held + 1] = { id, attempt } end
      end
    end
  end
end
return held
