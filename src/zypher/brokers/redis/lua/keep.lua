-- Nobody waits for a prediction any more: keeps it, and returns its record.
local id, wall = ARGV[1], tonumber(ARGV[2])
local status, gone, model, kept, waits, lane, place, expires =
  fields(id, 'status', 'gone', 'model', 'kept', 'waits', 'lane', 'place', 'expires')
if not status or gone == 'forgotten' then return nil end
if gone ~= 'offered' and expires and tonumber(expires) <= wall then return nil end

redis.call('HDEL', record_of(id), 'waits', 'gone')
if not kept then
  redis.call('PERSIST', record_of(id))
  redis.call('HSET', record_of(id), 'kept', '1')
  local owner, ttl, host = fields(id, 'owner', 'ttl', 'host')
  enlist(id, owner)
  if TERMINAL[status] then
    local until_then = text(wall + tonumber(ttl))
    redis.call('HSET', record_of(id), 'expires', until_then)
    redis.call('ZADD', 'zypher:expiring', until_then, id)
    announce(id, wall, host)
  end
end
if waits and lane and lane ~= lane_for(id) then
  redis.call('HINCRBY', queue_of(model), lane, -1)
  redis.call('HINCRBY', queue_of(model), lane_for(id), 1)
  if take_back(id, model, lane) == 0 then
    redis.call('HDEL', record_of(id), 'stream', 'entry') -- not read yet: it leaves a dead one
  end
  put_back(id, model, lane_for(id), place)
end
flush()
return redis.call('HGETALL', record_of(id))
