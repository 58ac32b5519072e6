-- Moves predictions that are still where the caller has seen them; those that are not are refused. Each
-- move is one argument (MessagePack): fields that it changes have their new value, those that go have ''.
-- Every move has a name of its own: one that is sent twice is made once. One that was made is 'waits'
-- if a caller still waits, else 'done'.
local wall, time, name = tonumber(ARGV[1]), ARGV[2], ARGV[3]
local struck = {} -- entries, by stream

local function measure(model, seconds)
  local before = number(queue_of(model), 'service_time')
  put(queue_of(model), 'service_time', before and before + 0.2 * (seconds - before) or seconds)
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
  local place, created, size, owner = fields(id, 'place', 'created', 'size', 'owner')
  local waited = math.max(0, wall - tonumber(created))
  redis.call('HSET', record_of(id), 'since', text(tonumber(time) - waited))
  hand_entry(id, model, BACK)
  if at ~= '' then
    count(model, nil, 1, size, owner)
    pause(id, model, at)
    return
  end
  local lane = lane_for(id)
  count(model, lane, 1, size, owner)
  put_back(id, model, lane, place)
  set_alarm(id)
  ring_for(model, 1)
end

-- The nodes where somebody waits are told, and what has come of it unless that is large.
local function tell_end(nodes, id)
  local record, key = {}, record_of(id)
  if redis.call('HSTRLEN', key, 'input') + redis.call('HSTRLEN', key, 'result') <= SMALL then
    record = redis.call('HGETALL', key)
  end
  tell(nodes, 'end', id, unpack(record))
end

-- What a move makes of a record: the status, fields with their values, and fields that are gone.
local function changes_of(move, status, changed)
  local sets, dels = { 'move', move, 'since', time }, {}
  for i = 1, #changed, 2 do
    local field, value = changed[i], changed[i + 1]
    if field == 'status' then status = value end
    if value == '' then
      dels[#dels + 1] = field
    else
      sets[#sets + 1], sets[#sets + 2] = field, value
    end
  end
  return status, sets, dels
end

local function change(id, sets, dels)
  redis.call('HSET', record_of(id), unpack(sets))
  if #dels > 0 then redis.call('HDEL', record_of(id), unpack(dels)) end
end

-- The entry of what was read and has ended is taken out of its stream.
local function strike_read(model, lane, entry, dels)
  local stream = lane_of(model, lane)
  struck[stream] = struck[stream] or {}
  table.insert(struck[stream], entry)
  dels[#dels + 1], dels[#dels + 2] = 'stream', 'entry'
end

-- It ends. Who waits gets it; what nobody kept is theirs alone.
local function finish(id, model, status, sets, dels)
  local kept, waiting, ttl, host, log, lane, entry, deadline, queue, run =
    fields(id, 'kept', 'waiting', 'ttl', 'host', 'events_size', 'stream', 'entry',
      'deadline_at', 'queue_at', 'run_timeout')
  if entry then strike_read(model, lane, entry, dels) end
  if kept or not waiting then
    local expires = text(wall + (kept and tonumber(ttl) or LINGER))
    sets[#sets + 1], sets[#sets + 2] = 'expires', expires
    later('ZADD', 'zypher:expiring', expires, id)
  else
    sets[#sets + 1], sets[#sets + 2] = 'gone', 'offered'
  end
  change(id, sets, dels)
  later('ZREM', 'zypher:open', id)
  if deadline or queue or run then later('ZREM', 'zypher:alarms', id) end
  add(queue_of(model), status, 1)
  add(queue_of(model) .. ':rate', text(math.floor(tonumber(time))), 1)
  if log then redis.call('EXPIRE', events_of(id), LINGER) end
  if kept then
    announce(id, wall, host)
  elseif waiting then
    redis.call('EXPIRE', record_of(id), LINGER)
  end
  if waiting then tell_end(waiting, id) end
end

-- Makes one move, under its name; what came of it.
local function make(move, id, attempt, from, insists, unkept, tally, ran, at, changed)
  local status, now_at, latest, model, kept, waiting, waits, gone, watching =
    fields(id, 'status', 'attempt', 'move', 'model', 'kept', 'waiting', 'waits', 'gone', 'watching')
  if latest == move then return waits and 'waits' or 'done' end
  if status ~= from or now_at ~= attempt or gone or (unkept and (kept or waiting)) then return 'refused' end
  if from == 'queued' then
    leave_queue(id)
  else
    later('ZREM', 'zypher:leases', id)
    later('ZREM', running_of(model), id)
    if insists ~= '' then withdraw(id, insists) end
  end
  if ran ~= '' then measure(model, ran) end
  if tally ~= '' then add(queue_of(model), tally, 1) end
  local after, sets, dels = changes_of(move, status, changed)
  if TERMINAL[after] then
    finish(id, model, after, sets, dels)
  else
    change(id, sets, dels)
    line_up(id, model, at)
  end
  tell(watching, 'news', id)
  return waits and 'waits' or 'done'
end

local answers, failure = {}, nil
for i = 4, #ARGV do
  local done, answer = pcall(make, name .. ':' .. i - 4, unpack(cmsgpack.unpack(ARGV[i])))
  if not done then
    failure = fault(answer)
    break
  end
  answers[#answers + 1] = answer
end
for stream, entries in pairs(struck) do take_out(stream, entries) end
flush()
return failure or answers
