-- Lines up what may be tried again by now, and finds what is past one of its clocks: {how many
-- were lined up, records with their ids, 1 if a delivery is due}.
local time, wall = ARGV[1], ARGV[2]
local lined_up, records = 0, {}

local function ringing()
  return redis.call('ZRANGEBYSCORE', 'zypher:alarms', '-inf', time, 'LIMIT', 0, 1000)
end

for _, id in ipairs(ringing()) do
  local status, lane, model, place = fields(id, 'status', 'lane', 'model', 'place')
  if not status or TERMINAL[status] then
    redis.call('ZREM', 'zypher:alarms', id)
  elseif status == 'queued' and not lane then
    end_pause(id, model)
    redis.call('HINCRBY', queue_of(model), lane_for(id), 1)
    put_back(id, model, lane_for(id), place)
    set_alarm(id)
    ring_for(model, 1)
    lined_up = lined_up + 1
  end
end
for _, id in ipairs(ringing()) do
  local status, lane = fields(id, 'status', 'lane')
  if lane or status == 'processing' then -- others pause: there were more than could be lined up
    records[#records + 1] = id
    records[#records + 1] = redis.call('HGETALL', record_of(id))
  end
end
local due = redis.call('ZRANGEBYSCORE', 'zypher:outbox', '-inf', wall, 'LIMIT', 0, 1)
if #due > 0 then ring_for_delivery() end
return { lined_up, records, #due }
