-- A node begins: {epoch, shared time}. The shared time is that of Redis when the first node comes,
-- and from then on advances with the steady clocks of the nodes.
local epoch = ARGV[1]
redis.call('SET', 'zypher:epoch', epoch, 'NX')
local now = redis.call('TIME')
local time = tonumber(now[1]) + tonumber(now[2]) / 1000000
local last, at = unpack(redis.call('HMGET', 'zypher:clock', 'time', 'at'))
if last then time = tonumber(last) + math.max(0, time - tonumber(at)) end
return { redis.call('GET', 'zypher:epoch'), text(time) }
