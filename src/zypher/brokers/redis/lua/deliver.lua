-- Hands out the delivery that is due first: its record. No host is called too often at once.
local time, wall, node = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3]
local will_wait, most, held = ARGV[4] == '1', tonumber(ARGV[5]), tonumber(ARGV[6])
local taker = ARGV[7] -- another for every call, so that one that is sent twice takes one

for _, id in ipairs(redis.call('ZRANGEBYSCORE', 'zypher:taken', '-inf', text(time))) do
  redis.call('ZREM', 'zypher:taken', id) -- its taker is not heard of any more
  if fields(id, 'undelivered') then post(id, wall) end
end
local calls = {}
for _, id in ipairs(redis.call('ZRANGE', 'zypher:taken', 0, -1)) do
  local host, its = fields(id, 'host', 'taker')
  if its == taker then return { id, redis.call('HGETALL', record_of(id)) } end
  if host then calls[host] = (calls[host] or 0) + 1 end
end

local function first_of(host) return redis.call('ZRANGE', 'zypher:outbox:' .. host, 0, 0, 'WITHSCORES') end

local best, best_host, best_due
local hosts = redis.call('ZRANGEBYSCORE', 'zypher:outbox', '-inf', text(wall))
for _, host in ipairs(hosts) do
  local first = first_of(host)
  if not first[1] then
    redis.call('ZREM', 'zypher:outbox', host)
  elseif (calls[host] or 0) < most then
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
local next = first_of(best_host)
if next[1] then
  redis.call('ZADD', 'zypher:outbox', next[2], best_host)
else
  redis.call('ZREM', 'zypher:outbox', best_host)
end
redis.call('ZADD', 'zypher:taken', text(time + held), best)
redis.call('HSET', record_of(best), 'taker', taker)
if #hosts > 1 or next[1] then ring_for_delivery() end
return { best, redis.call('HGETALL', record_of(best)) }
