-- What a worker was not told yet of its claims that others have ended; `ARGV[2]` and so on it was.
local list = 'zypher:withdrawn:' .. ARGV[1]
for i = 2, #ARGV do redis.call('LREM', list, 0, ARGV[i]) end
return redis.call('LRANGE', list, 0, -1)
