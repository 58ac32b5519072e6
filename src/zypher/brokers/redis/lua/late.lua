-- What was not renewed since a beat: {workers, records with their ids}; and the beat now.
local before = ARGV[1]
local records = {}
if before ~= '' then
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', 'zypher:leases', '-inf', before, 'LIMIT', 0, 1000)) do
    records[#records + 1] = id
    records[#records + 1] = redis.call('HGETALL', record_of(id))
  end
end
local workers = {}
if before ~= '' then
  workers = redis.call('ZRANGEBYSCORE', 'zypher:workers:beats', '-inf', before)
end
return { redis.call('INCR', 'zypher:beat'), workers, records }
