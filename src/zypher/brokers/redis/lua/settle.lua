-- What came of a delivery that was taken: done with, or due again at a time.
local id, wall, at, failures = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4]
if redis.call('ZREM', 'zypher:taken', id) == 0 then return end
if at ~= '' then
  redis.call('HSET', record_of(id), 'failures', failures)
  post(id, tonumber(at))
else
  redis.call('HDEL', record_of(id), 'undelivered')
  if fields(id, 'overdue') then forget(id) end
end
ring_for_delivery()
