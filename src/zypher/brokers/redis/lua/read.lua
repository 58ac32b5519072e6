-- Reads a record; with `any`, also what has expired or is forgotten, as long as it is there.
local id, wall, any = ARGV[1], tonumber(ARGV[2]), ARGV[3] == '1'
if not (any or is_known(id, wall)) then return nil end
local record = redis.call('HGETALL', record_of(id))
return #record > 0 and record or nil
