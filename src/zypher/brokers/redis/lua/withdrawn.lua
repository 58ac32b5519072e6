-- What a worker was not told yet of its claims that others have ended.
local untold = redis.call('LRANGE', 'zypher:withdrawn:' .. ARGV[1], 0, -1)
redis.call('DEL', 'zypher:withdrawn:' .. ARGV[1])
return untold
