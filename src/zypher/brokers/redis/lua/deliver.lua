-- Hands out the delivery that is due first: its record. No host is called too often at once. Each
-- taking has a name of its own: one that is sent twice gets the same again.
local taking, time, wall, node = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]
local will_wait, most, held = ARGV[5] == '1', tonumber(ARGV[6]), tonumber(ARGV[7])

for _, id in ipairs(redis.call('ZRANGEBYSCORE', 'zypher:taken', '-inf', text(time))) do
  redis.call('ZREM', 'zypher:taken', id) -- its taker is not heard of any more
  if fields(id, 'undelivered') then post(id, wall) end
end
local calls = {}
for _, id in ipairs(redis.call('ZRANGE', 'zypher:taken', 0, -1)) do
  local host, its = fields(id, 'host', 'taking')
  if its == taking then return { id, redis.call('HGETALL', record_of(id)) } end
  if host then calls[host] = (calls[host] or 0) + 1 end
end

local best, best_host, best_due
local hosts = redis.call('ZRANGEBYSCORE', 'zypher:outbox', '-inf', text(wall))
for _, host in ipairs(hosts) do
  local first = redis.call('ZRANGE', 'zypher:outbox:' .. host, 0, 0, 'WITHSCORES')
  if first[1] and (calls[host] or 0) < most then
    local due = tonumber(first[2])
    if not best or due < best_due or (due == best_due and first[1] < best) then
      best, best_host, best_due = first[1], host, due
    end
  end
end
if not best or best_due > wall then
  if will_wait then redis.call('SADD', 'zypher:idle', node) end
  return nil
end
redis.call('ZREM', 'zypher:outbox:' .. best_host, best)
schedule(best_host)
redis.call('HSET', record_of(best), 'taking', taking)
redis.call('ZADD', 'zypher:taken', text(time + held), best)
if #hosts > 1 or redis.call('ZSCORE', 'zypher:outbox', best_host) then ring_for_delivery() end
return { best, redis.call('HGETALL', record_of(best)) }
