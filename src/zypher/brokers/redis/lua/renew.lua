-- Renews the leases of a worker's claims: {beat, 1 if the worker is known, for each claim 1 or
-- 0 if it is lost}.
local worker = ARGV[1]
local beat, answers = redis.call('INCR', 'zypher:beat'), {}
local is_registered = redis.call('HEXISTS', 'zypher:workers', worker)
if is_registered == 1 then
  redis.call('ZADD', 'zypher:workers:beats', beat, worker)
end
for i = 2, #ARGV, 2 do
  local id, attempt = ARGV[i], ARGV[i + 1]
  local status, now_at, by = fields(id, 'status', 'attempt', 'worker')
  local holds = status == 'processing' and now_at == attempt and by == worker
  if holds then redis.call('ZADD', 'zypher:leases', beat, id) end
  answers[#answers + 1] = holds and 1 or 0
end
return { beat, is_registered, answers }
