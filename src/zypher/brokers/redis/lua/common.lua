-- What the scripts share; it goes in front of each of them. Keys and fields: docs/redis.md.

local TERMINAL = { completed = true, failed = true, canceled = true }
local LANES = { 'high', 'normal', 'low' }
local GROUP = 'workers' -- the consumer group of every queue
local BACK = 'given-back' -- the consumer that holds the entries of what waits once more
local LINGER = 60 -- seconds for which an outcome is held that nobody has taken yet
local AGAIN = 5 -- seconds within which a call is sent again if it was not answered
local SMALL = 16384 -- bytes of input and result with which a record is sent along with its end

local function record_of(id) return 'zypher:p:' .. id end
local function events_of(id) return 'zypher:events:' .. id end
local function queue_of(model) return 'zypher:q:' .. model end
local function lane_of(model, lane) return queue_of(model) .. ':' .. lane end
local function running_of(model) return 'zypher:running:' .. model end
local function paused_of(model) return 'zypher:paused:' .. model end
local function refused_of(model) return 'zypher:refused:' .. model end
local function list_of(owner) return 'zypher:list:' .. owner end
local function key_of(owner, key) return 'zypher:key:' .. owner .. ':' .. key end

-- A number as text that loses nothing.
local function text(number) return string.format('%.17g', number) end

local function fields(id, ...) return unpack(redis.call('HMGET', record_of(id), ...)) end

-- What a script changes for several predictions alike is written once for all of them: by `flush`, which
-- ends every script that uses this.

local MOST = 1000 -- words of a command
local commands, numbers, changed = {}, {}, {}

-- A command whose words come together with those of others.
local function later(command, key, ...)
  local name = command .. ' ' .. key
  local words = commands[name]
  if not words then
    words = { command, key }
    commands[name] = words
  end
  for _, word in ipairs({ ... }) do words[#words + 1] = word end
  if #words > MOST then
    redis.call(unpack(words))
    commands[name] = nil
  end
end

-- The number that a field of a hash is to have.
local function put(key, field, number)
  numbers[key], changed[key] = numbers[key] or {}, changed[key] or {}
  numbers[key][field], changed[key][field] = number, true
end

-- The number in a field of a hash, or nil; with what is yet to be written.
local function number(key, field)
  local known = numbers[key] and numbers[key][field]
  if known == nil then
    local found = redis.call('HGET', key, field)
    known = found and tonumber(found)
    numbers[key] = numbers[key] or {}
    numbers[key][field] = known
  end
  return known or nil
end

local function add(key, field, count) put(key, field, (number(key, field) or 0) + count) end

local function flush()
  for _, words in pairs(commands) do redis.call(unpack(words)) end
  for key, fields_of in pairs(changed) do
    local values = {}
    for field in pairs(fields_of) do
      values[#values + 1], values[#values + 2] = field, text(numbers[key][field])
    end
    redis.call('HSET', key, unpack(values))
  end
end

-- The answer for what `pcall` has caught: a part of a script fails, and what others changed is written.
local function fault(caught) return { err = type(caught) == 'table' and caught.err or caught } end

-- Tells a node something; how many have heard it. The words are sent as netstrings.
local function tell_node(node, words)
  local news = {}
  for i, word in ipairs(words) do news[i] = #word .. ':' .. word .. ',' end
  return redis.call('PUBLISH', 'zypher:node:' .. node, table.concat(news))
end

-- The nodes that a field of a record names, each told the same.
local function tell(nodes, ...)
  if not nodes then return end
  for node in string.gmatch(nodes, '%S+') do tell_node(node, { ... }) end
end

-- Adds a node to those that a field names.
local function enroll(id, field, node)
  local nodes = fields(id, field)
  if not nodes then
    redis.call('HSET', record_of(id), field, node)
  elseif not string.find(' ' .. nodes .. ' ', ' ' .. node .. ' ', 1, true) then
    redis.call('HSET', record_of(id), field, nodes .. ' ' .. node)
  end
end

-- Takes a node from those that a field names.
local function dismiss(id, field, node)
  local nodes, rest = fields(id, field), {}
  if not nodes then return end
  for other in string.gmatch(nodes, '%S+') do
    if other ~= node then rest[#rest + 1] = other end
  end
  if #rest == 0 then
    redis.call('HDEL', record_of(id), field)
  else
    redis.call('HSET', record_of(id), field, table.concat(rest, ' '))
  end
end

-- Wakes so many of those who wait in a set: the first that listen.
local function ring(set, count, ...)
  while count > 0 do
    local node = redis.call('SPOP', set)
    if not node then return end
    if tell_node(node, { ... }) > 0 then count = count - 1 end
  end
end

-- Where nodes wait for work of a model: for anything, or for what is no suspect.
local function rooms_of(model) return { model, model .. '/others' } end

local function ring_in(room, count) ring('zypher:idle:' .. room, count, 'work', room) end

-- For so many new ones of a model.
local function ring_for(model, count)
  for _, room in ipairs(rooms_of(model)) do ring_in(room, count) end
end

local function ring_for_delivery() ring('zypher:idle', 1, 'delivery') end

-- False for what is forgotten, has expired, or was never there.
local function is_there(status, expires, gone, wall)
  return status and not gone and not (expires and tonumber(expires) <= wall)
end

local function is_known(id, wall)
  local status, expires, gone = fields(id, 'status', 'expires', 'gone')
  return is_there(status, expires, gone, wall)
end

-- The lanes. What waits is in the stream of its lane, or by its place among those given back; of these,
-- suspects are kept apart.

-- How many wait in a lane; without suspects, of the others.
local function waiting_in(model, lane, suspects)
  local waiting = number(queue_of(model), lane) or 0
  return suspects and waiting or waiting - redis.call('ZCARD', lane_of(model, lane) .. ':suspects')
end

local function count(model, lane, sign, size, owner)
  local queue = queue_of(model)
  add(queue, 'queued', sign)
  add(queue, 'bytes', sign * size)
  add('zypher:total', 'bytes', sign * size)
  if lane then add(queue, lane, sign) end
  if owner and redis.call('HINCRBY', 'zypher:owned', owner, sign) <= 0 then
    redis.call('HDEL', 'zypher:owned', owner)
  end
end

-- It is listed from now on, for all and for its owner.
local function enlist(id, owner)
  later('ZADD', 'zypher:list', '0', id)
  if owner then later('ZADD', list_of(owner), '0', id) end
end

-- True if something can be claimed by those who wait in a room.
local function some_wait(room)
  local model = string.match(room, '^(.*)/others$') or room
  for _, lane in ipairs(LANES) do
    if waiting_in(model, lane, room == model) > 0 then return true end
  end
  return false
end

-- Takes entries that were read out of a stream.
local function take_out(stream, entries)
  for i = 1, #entries, MOST do
    local last = math.min(i + MOST - 1, #entries)
    redis.call('XACK', stream, GROUP, unpack(entries, i, last))
    redis.call('XDEL', stream, unpack(entries, i, last))
  end
end

local function create_group(model, lane, after)
  redis.call('XGROUP', 'CREATE', lane_of(model, lane), GROUP, after, 'MKSTREAM')
end

local function open_lane(model, lane)
  if redis.call('EXISTS', lane_of(model, lane)) == 0 then
    redis.call('HDEL', queue_of(model), lane .. ':read')
    create_group(model, lane, '0')
  end
end

-- It waits among those given back to a lane, at its old place.
local function put_back(id, model, lane, place)
  local kind = fields(id, 'company') and ':suspects' or ':back'
  redis.call('ZADD', lane_of(model, lane) .. kind, place, id)
  redis.call('HSET', record_of(id), 'lane', lane)
  local newest = tonumber(redis.call('HGET', queue_of(model), lane .. ':newest') or '0')
  if newest < tonumber(place) then redis.call('HSET', queue_of(model), lane .. ':newest', place) end
end

-- It waits there no more; 0 if it did not.
local function take_back(id, model, lane)
  local stem = lane_of(model, lane)
  return redis.call('ZREM', stem .. ':back', id) + redis.call('ZREM', stem .. ':suspects', id)
end

-- Reads the next entries of a stream, up to the last of so many, in the name of a consumer.
local function read(model, lane, consumer, entries, last)
  local command = { 'XREADGROUP', 'GROUP', GROUP, consumer, 'COUNT', entries, 'STREAMS',
    lane_of(model, lane), '>' }
  local reply = redis.pcall(unpack(command))
  if reply and reply.err then -- somebody has removed the group
    create_group(model, lane, redis.call('HGET', queue_of(model), lane .. ':read') or '0')
    redis.call(unpack(command))
  end
  redis.call('HSET', queue_of(model), lane .. ':read', last)
end

-- The entry of a prediction goes from one consumer to another, if there still is one.
local function hand_entry(id, model, consumer)
  local lane, entry = fields(id, 'stream', 'entry')
  if entry then -- `pcall`: somebody may have removed the group
    redis.pcall('XCLAIM', lane_of(model, lane), GROUP, consumer, 0, entry, 'JUSTID')
  end
end

-- The first in the stream of a lane that no worker was given: id, entry and place. Dead entries
-- are taken out.
local function first_in_stream(model, lane)
  local stream = lane_of(model, lane)
  while true do
    local after = redis.call('HGET', queue_of(model), lane .. ':read')
    local found = redis.call('XRANGE', stream, after and '(' .. after or '-', '+', 'COUNT', 1)[1]
    if not found then return nil end
    local entry, id = found[1], found[2][2]
    local status, at_lane, its, place = fields(id, 'status', 'lane', 'entry', 'place')
    if status == 'queued' and at_lane == lane and its == entry then
      return id, entry, tonumber(place)
    end
    read(model, lane, BACK, 1, entry)
    redis.call('XACK', stream, GROUP, entry)
    redis.call('XDEL', stream, entry)
  end
end

-- The first of a lane: id, entry if that is still to be read, and place; without suspects, of the others.
local function head(model, lane, suspects)
  local id, entry, place = first_in_stream(model, lane)
  for _, kind in ipairs(suspects and { ':back', ':suspects' } or { ':back' }) do
    local back = redis.call('ZRANGE', lane_of(model, lane) .. kind, 0, 0, 'WITHSCORES')
    if back[1] and (not id or tonumber(back[2]) < place) then
      id, entry, place = back[1], nil, tonumber(back[2])
    end
  end
  return id, entry, place
end

-- Its entry in a stream is done with. One that no worker was given stays there, and is passed over
-- when it comes up: to delete it would spoil the group's count of what is left to read.
local function strike(id, model)
  local lane, entry = fields(id, 'stream', 'entry')
  if not entry then return end
  local stream = lane_of(model, lane)
  if redis.call('XACK', stream, GROUP, entry) > 0 then redis.call('XDEL', stream, entry) end
  redis.call('HDEL', record_of(id), 'stream', 'entry')
end

-- It is queued, and is to be tried again when the time has come.
local function pause(id, model, at)
  local since, misfits = fields(id, 'since', 'misfits')
  redis.call('ZADD', 'zypher:alarms', at, id)
  redis.call('ZADD', paused_of(model), since, id)
  if misfits and misfits ~= '0' then redis.call('ZADD', refused_of(model), since, id) end
end

local function end_pause(id, model)
  redis.call('ZREM', paused_of(model), id)
  redis.call('ZREM', refused_of(model), id)
end

-- What is queued is not any more.
local function leave_queue(id)
  local model, lane, size, owner = fields(id, 'model', 'lane', 'size', 'owner')
  count(model, lane, -1, size, owner)
  redis.call('ZREM', 'zypher:alarms', id)
  if lane then
    take_back(id, model, lane)
  else
    end_pause(id, model)
  end
  redis.call('HDEL', record_of(id), 'lane')
  strike(id, model)
end

local function lane_for(id)
  local waits, priority = fields(id, 'waits', 'priority')
  return waits and 'high' or LANES[tonumber(priority) + 1]
end

-- The clocks. Alarms are set by the shared time, which no machine's wall clock can move.

local function set_alarm(id)
  local status, attempt, since, deadline, queue, run =
    fields(id, 'status', 'attempt', 'since', 'deadline_at', 'queue_at', 'run_timeout')
  local at = deadline and tonumber(deadline) or math.huge
  if queue and attempt == '0' then at = math.min(at, tonumber(queue)) end
  if run and status == 'processing' then at = math.min(at, tonumber(since) + tonumber(run)) end
  if at < math.huge then
    redis.call('ZADD', 'zypher:alarms', text(at), id)
  else
    redis.call('ZREM', 'zypher:alarms', id)
  end
end

-- Ending and forgetting.

-- Notes when the first of the deliveries to a host is due.
local function schedule(host)
  local first = redis.call('ZRANGE', 'zypher:outbox:' .. host, 0, 0, 'WITHSCORES')
  if first[1] then
    redis.call('ZADD', 'zypher:outbox', first[2], host)
  else
    redis.call('ZREM', 'zypher:outbox', host)
  end
end

local function post(id, due)
  local host = fields(id, 'host')
  redis.call('HSETNX', record_of(id), 'failures', '0')
  redis.call('HSET', record_of(id), 'undelivered', '1')
  redis.call('ZADD', 'zypher:outbox:' .. host, text(due), id)
  schedule(host)
end

-- A kept prediction has ended: its webhook is called.
local function announce(id, wall, host)
  if not host then return end
  post(id, wall)
  ring_for_delivery()
end

-- It is there no more but for those who know of it already.
local function hide(id)
  redis.call('HSET', record_of(id), 'gone', 'forgotten')
  redis.call('EXPIRE', record_of(id), AGAIN)
  redis.call('EXPIRE', events_of(id), AGAIN)
end

local function forget(id)
  local status, watching, kept, owner, key, host, model =
    fields(id, 'status', 'watching', 'kept', 'owner', 'idempotency_key', 'host', 'model')
  if model then strike(id, model) end
  redis.call('ZREM', 'zypher:expiring', id)
  redis.call('ZREM', 'zypher:list', id)
  if owner then redis.call('ZREM', list_of(owner), id) end
  redis.call('ZREM', 'zypher:open', id)
  if key and redis.call('GET', key_of(owner or '', key)) == id then
    redis.call('DEL', key_of(owner or '', key))
  end
  if host then
    redis.call('ZREM', 'zypher:outbox:' .. host, id)
    redis.call('ZREM', 'zypher:taken', id)
    schedule(host)
  end
  -- Those who watch are still to be told the end; who submitted what is not kept, that it is not lost.
  if status and (watching or not kept) then
    hide(id)
  else
    redis.call('UNLINK', record_of(id), events_of(id))
  end
end

-- Those who waited at a node have what they waited for. What nobody kept is forgotten once all nodes
-- have it, but not before an answer that was lost can have been asked for again.
local function hand_over(id, node)
  dismiss(id, 'waiting', node)
  local gone, waiting = fields(id, 'gone', 'waiting')
  if gone == 'offered' and not waiting then hide(id) end
end
