-- Moves predictions that are still where the caller has seen them; those that are not are refused.
-- Every move has a name of its own: one that is sent twice is made once. One that was made is 'waits'
-- if a caller still waits, else 'done'.
local wall, time, name = tonumber(ARGV[1]), ARGV[2], ARGV[3]

local function leave_worker(id, model)
  redis.call('ZREM', 'zypher:leases', id)
  redis.call('ZREM', running_of(model), id)
end

local function measure(model, seconds)
  local queue = queue_of(model)
  local before = redis.call('HGET', queue, 'service_time')
  local smoothed = seconds
  if before then smoothed = tonumber(before) + 0.2 * (seconds - tonumber(before)) end
  redis.call('HSET', queue, 'service_time', text(smoothed))
end

-- Its worker is told that somebody else has ended it.
local function withdraw(id, insists)
  local worker, of, attempt = fields(id, 'worker', 'node', 'attempt')
  redis.call('RPUSH', 'zypher:withdrawn:' .. worker, cjson.encode({ id, attempt, insists }))
  redis.call('EXPIRE', 'zypher:withdrawn:' .. worker, 600)
  tell(of, 'withdrawn', worker)
end

-- It is queued once more: at once, or when the time has come.
local function line_up(id, model, at)
  local place, created = fields(id, 'place', 'created')
  local waited = math.max(0, wall - tonumber(created))
  redis.call('HSET', record_of(id), 'since', text(tonumber(time) - waited))
  hand_entry(id, model, BACK)
  if at ~= '' then
    count(id, model, nil, 1)
    pause(id, model, at)
    return
  end
  local lane = lane_for(id)
  count(id, model, lane, 1)
  put_back(id, model, lane, place)
  set_alarm(id)
  ring_for(model)
end

local function change(id, move, from, values)
  local sets, dels = { 'move', move, 'since', time }, {}
  for i = from, from + 2 * values - 1, 2 do
    if ARGV[i + 1] == '' then
      dels[#dels + 1] = ARGV[i]
    else
      sets[#sets + 1], sets[#sets + 2] = ARGV[i], ARGV[i + 1]
    end
  end
  redis.call('HSET', record_of(id), unpack(sets))
  if #dels > 0 then redis.call('HDEL', record_of(id), unpack(dels)) end
end

local answers, i = {}, 4
while i <= #ARGV do
  local id, attempt, from, insists, unkept = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4]
  local tally, ran, at, values = ARGV[i + 5], ARGV[i + 6], ARGV[i + 7], tonumber(ARGV[i + 8])
  local move = name .. ':' .. #answers
  local status, now_at, last, model, kept, waiting, waits, gone =
    fields(id, 'status', 'attempt', 'move', 'model', 'kept', 'waiting', 'waits', 'gone')
  if last == move then
    answers[#answers + 1] = waits and 'waits' or 'done'
  elseif status ~= from or now_at ~= attempt or gone or (unkept == '1' and (kept or waiting)) then
    answers[#answers + 1] = 'refused'
  else
    if from == 'queued' then leave_queue(id) else leave_worker(id, model) end
    if from == 'processing' and insists ~= '' then withdraw(id, insists) end
    change(id, move, i + 9, values)
    if ran ~= '' then measure(model, tonumber(ran)) end
    if tally ~= '' then redis.call('HINCRBY', queue_of(model), tally, 1) end
    local after = fields(id, 'status')
    if after == 'queued' then
      line_up(id, model, at)
    else
      strike(id, model)
      redis.call('ZREM', 'zypher:alarms', id)
      note_end(id, model, after, wall, tonumber(time))
    end
    tell(fields(id, 'watching'), 'news', id)
    answers[#answers + 1] = waits and 'waits' or 'done'
  end
  i = i + 9 + 2 * values
end
return answers
