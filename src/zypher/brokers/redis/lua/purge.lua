-- Forgets up to 500 that have expired: how many. What has a webhook to be called stays for that.
local count = 0
for _, id in ipairs(redis.call('ZRANGEBYSCORE', 'zypher:expiring', '-inf', ARGV[1], 'LIMIT', 0, 500)) do
  if fields(id, 'undelivered') then
    redis.call('ZREM', 'zypher:expiring', id)
    redis.call('HSET', record_of(id), 'overdue', '1')
  else
    forget(id)
  end
  count = count + 1
end
return count
