-- What was not renewed since a beat: {workers, records with their ids}; and the beat now.
local before = ARGV[1]
local records = {}
if before ~= '' then
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', 'zypher:leases', '-inf', before, 'LIMIT', 0, 1000)) do
    local record = redis.call('HGETALL', record_of(id))
    if #record > 0 then
      records[#records + 1], records[#records + 2] = id, record
    else
      redis.call('ZREM', 'zypher:leases', id) -- somebody has deleted it
    end
  end
end
local workers = {}
if before ~= '' then
  workers = redis.call('ZRANGEBYSCORE', 'zypher:workers:beats', '-inf', before)
end
return { redis.call('INCR', 'zypher:beat'), workers, records }
