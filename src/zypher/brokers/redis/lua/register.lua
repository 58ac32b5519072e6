-- Makes a model known; the first one is the default.
redis.call('HSET', 'zypher:models', ARGV[1], ARGV[2])
redis.call('ZADD', 'zypher:models:order', 'NX', redis.call('INCR', 'zypher:places'), ARGV[1])
