-- What lost news would have told a node: {epoch, beat, shared time, rooms with work, workers with
-- withdrawals, ids that have ended or are gone, 1 if a delivery is due}. The node hears of it, too:
-- so it knows that it hears.
local node, time, wall = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local rooms, workers = tonumber(ARGV[4]), tonumber(ARGV[5])
tell_node(node, { 'sweep' })

local last = redis.call('HGET', 'zypher:clock', 'time')
if not last or tonumber(last) < time then
  local now = redis.call('TIME')
  redis.call('HSET', 'zypher:clock', 'time', text(time), 'at', now[1] .. '.' .. string.format('%06d', now[2]))
else
  time = tonumber(last)
end
local work, withdrawn, ended = {}, {}, {}
for i = 6, 5 + rooms do
  if some_wait(ARGV[i]) then work[#work + 1] = ARGV[i] end
end
for i = 6 + rooms, 5 + rooms + workers do
  if redis.call('EXISTS', 'zypher:withdrawn:' .. ARGV[i]) == 1 then
    withdrawn[#withdrawn + 1] = ARGV[i]
  end
end
for i = 6 + rooms + workers, #ARGV do
  local status = fields(ARGV[i], 'status')
  if not status or TERMINAL[status] then ended[#ended + 1] = ARGV[i] end
end
local due = redis.call('ZRANGEBYSCORE', 'zypher:outbox', '-inf', wall, 'LIMIT', 0, 1)
return { redis.call('GET', 'zypher:epoch') or '', redis.call('INCR', 'zypher:beat'), text(time),
  work, withdrawn, ended, #due }
