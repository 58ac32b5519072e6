-- Makes a model known, or a version of it with another signature: its number among all, in the order
-- in which they were registered first. It is registered with its number after Redis has lost it.
local version, model = ARGV[1], ARGV[2]
local newest = tonumber(redis.call('GET', 'zypher:places') or '0')
local number = tonumber(ARGV[3]) or newest + 1
if number > newest then redis.call('SET', 'zypher:places', number) end
-- An autoscaler takes a stream that is not there yet for a fault.
for _, lane in ipairs(LANES) do open_lane(string.match(version, '^(.*)@'), lane) end
redis.call('HSET', 'zypher:models', version, model)
redis.call('ZADD', 'zypher:models:order', 'LT', number, version)
return redis.call('ZSCORE', 'zypher:models:order', version)
