-- Makes a worker known.
redis.call('HSET', 'zypher:workers', ARGV[1], ARGV[2])
redis.call('ZADD', 'zypher:workers:beats', redis.call('INCR', 'zypher:beat'), ARGV[1])
