-- The state of every queue: {model, its counters, {ended in the last minute, running, the shared time
-- at which the oldest came that waits, and that runs, paused, and refused}}.
local time = tonumber(ARGV[1])
local MINUTE = 60

local function rate(model)
  local sum = 0
  local seconds = redis.call('HGETALL', queue_of(model) .. ':rate')
  for i = 1, #seconds, 2 do
    if tonumber(seconds[i]) <= time - MINUTE then
      redis.call('HDEL', queue_of(model) .. ':rate', seconds[i])
    else
      sum = sum + tonumber(seconds[i + 1])
    end
  end
  return sum
end

local function oldest_waiting(model)
  local oldest, first
  for _, lane in ipairs(LANES) do
    local id, _, place = head(model, lane, true)
    if id and (not first or place < first) then oldest, first = id, place end
  end
  local since = oldest and fields(oldest, 'since')
  local paused = redis.call('ZRANGE', paused_of(model), 0, 0, 'WITHSCORES')[2]
  if paused and (not since or tonumber(paused) < tonumber(since)) then since = paused end
  return since or ''
end

local names, seen, answers = {}, {}, {}
for _, version in ipairs(redis.call('ZRANGE', 'zypher:models:order', 0, -1)) do
  names[#names + 1] = string.match(version, '^(.*)@')
end
for _, name in ipairs(redis.call('SMEMBERS', 'zypher:queues')) do names[#names + 1] = name end
for _, model in ipairs(names) do
  if not seen[model] then
    seen[model] = true
    local running = redis.call('ZRANGE', running_of(model), 0, 0, 'WITHSCORES')
    answers[#answers + 1] = { model, redis.call('HGETALL', queue_of(model)), {
      rate(model), redis.call('ZCARD', running_of(model)), oldest_waiting(model), running[2] or '',
      redis.call('ZCARD', paused_of(model)), redis.call('ZCARD', refused_of(model)) } }
  end
end
return answers
