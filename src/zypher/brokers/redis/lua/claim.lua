-- Gives a worker up to `limit` of a model: {beat, ids and what their records were, 1 if those are all}.
-- If they are, its node is woken when more arrive. The last arguments name the fields that it gets.
local worker, node, model, room = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local limit, wall, time = tonumber(ARGV[5]), ARGV[6], ARGV[7]
local others_wait, will_wait = ARGV[8] == '1', ARGV[9] == '1'

-- One round of claims: 8 high, 4 normal, 1 low, spread so that none waits for a whole block.
local ROUND = { 1, 2, 1, 1, 2, 1, 3, 1, 2, 1, 1, 2, 1 }
local WORTH_A_TREE = 8 -- members that come at once
local queue, idle, suspects = queue_of(model), 'zypher:idle:' .. room, room == model
local turn = number(queue, 'turn') or 0
local beat = redis.call('INCR', 'zypher:beat')

-- It comes from a connection that its worker has given up: nobody would ever hear of what it gets.
local doubts = redis.call('HGET', 'zypher:doubts', worker)
if doubts and tonumber(doubts) > tonumber(ARGV[10]) then return { beat, {}, 0 } end

local OWN = { 'status', 'lane', 'entry', 'place', 'attempt', 'company', 'size', 'owner', 'watching',
  'deadline_at', 'queue_at', 'run_timeout' }
local SHOWN = { unpack(ARGV, 11) }
local NAMES = { unpack(SHOWN) }
for i, name in ipairs(OWN) do NAMES[#SHOWN + i] = name end

local group, company = {}, nil
local records, streams = {}, {}

-- What is to be known of a prediction that may be taken, and `shown` of it to its worker.
local function look_at(id)
  local record = records[id]
  if record then return record end
  local values = redis.call('HMGET', record_of(id), unpack(NAMES))
  record = { id = id, shown = values }
  for i, name in ipairs(OWN) do
    record[name], values[#SHOWN + i] = values[#SHOWN + i], nil
  end
  records[id] = record
  return record
end

-- Where the stream of a lane is read: `found` entries from `at` on, behind the last that was done with.
local function stream_of(lane)
  local stream = streams[lane]
  if not stream then
    local last = redis.call('HGET', queue, lane .. ':read')
    stream = { found = {}, at = 1, last = last, read = 0, dead = {} }
    streams[lane] = stream
  end
  return stream
end

local function advance(stream)
  stream.last = stream.found[stream.at][1]
  stream.at, stream.read = stream.at + 1, stream.read + 1
end

-- The first in the stream of a lane that no worker was given.
local function first_in_line(lane)
  local stream = stream_of(lane)
  while true do
    if stream.at > #stream.found then
      local from = stream.last and '(' .. stream.last or '-'
      stream.at = 1
      stream.found = redis.call('XRANGE', lane_of(model, lane), from, '+', 'COUNT', limit - #group)
      if #stream.found == 0 then return nil end
    end
    local entry, id = stream.found[stream.at][1], stream.found[stream.at][2][2]
    local record = look_at(id)
    if record.status == 'queued' and record.lane == lane and record.entry == entry then return record end
    stream.dead[#stream.dead + 1] = entry
    advance(stream)
  end
end

-- The first of a lane, and true if it is in the stream.
local function first(lane)
  local best, is_in_line = first_in_line(lane), true
  for _, kind in ipairs(suspects and { ':back', ':suspects' } or { ':back' }) do
    local back = redis.call('ZRANGE', lane_of(model, lane) .. kind, 0, 0, 'WITHSCORES')
    if back[1] and (not best or tonumber(back[2]) < tonumber(best.place)) then
      best, is_in_line = look_at(back[1]), false
    end
  end
  return best, is_in_line
end

-- The stream of a lane is not what it must be: somebody has deleted it. The records know better.
local function repair(lane)
  local found = 0
  for _, id in ipairs(redis.call('ZRANGE', 'zypher:open', 0, -1)) do
    local status, its, of, place = fields(id, 'status', 'model', 'lane', 'place')
    if status == 'queued' and its == model and of == lane then
      redis.call('HDEL', record_of(id), 'stream', 'entry')
      put_back(id, model, lane, place)
      found = found + 1
    end
  end
  put(queue, lane, found)
end

local function next_lane()
  for _, lane in ipairs({ LANES[ROUND[turn + 1]], 'high', 'normal', 'low' }) do
    if waiting_in(model, lane, suspects) > 0 then
      local record, is_in_line = first(lane)
      if not record then
        repair(lane)
        record, is_in_line = first(lane)
      end
      if record then return lane, record, is_in_line end
    end
  end
end

local function take(lane, record, is_in_line)
  local id = record.id
  if is_in_line then
    advance(streams[lane])
  else
    take_back(id, model, lane)
    hand_entry(id, model, worker)
  end
  count(model, lane, -1, record.size, record.owner)
  redis.call('HDEL', record_of(id), 'lane', 'not_before')
  redis.call('HSET', record_of(id), 'status', 'processing', 'attempt', text(record.attempt + 1),
    'started', wall, 'since', time, 'worker', worker, 'node', node)
  records[id] = nil
  later('ZADD', 'zypher:leases', beat, id)
  later('ZADD', running_of(model), time, id)
  if record.deadline_at or record.queue_at or record.run_timeout then set_alarm(id) end
  tell(record.watching, 'news', id)
  return { id, record.shown }
end

-- What was taken from the streams has been read in the worker's name; what was dead there is taken out.
local function read_streams()
  for lane, stream in pairs(streams) do
    if stream.read > 0 then read(model, lane, worker, stream.read, stream.last) end
    take_out(lane_of(model, lane), stream.dead)
  end
end

-- What is written for all that were taken. Redis keeps a small sorted set as a list, in which it reads one
-- score after the other to add or remove a member; with a member that is too long for a list it is a tree, and
-- stays one.
local function write_all()
  local LONG = string.rep('-', 100)
  local sets = #group < WORTH_A_TREE and {} or { 'zypher:leases', running_of(model) }
  for _, set in ipairs(sets) do redis.call('ZADD', set, '0', LONG) end
  flush()
  for _, set in ipairs(sets) do redis.call('ZREM', set, LONG) end
end

local function take_all()
  while #group < limit do
    local lane, record, is_in_line = next_lane()
    if not lane then break end
    local its = record.company
    if #group > 0 and (its == false) ~= (company == false) then break end
    if its then
      limit = math.min(limit, tonumber(its))
      if #group >= limit then break end
    end
    company = its
    group[#group + 1] = take(lane, record, is_in_line)
    turn = (turn + 1) % #ROUND
  end
end

if others_wait then redis.call('SADD', idle, node) end
local done, caught = pcall(take_all)
read_streams()
if #group > 0 then put(queue, 'turn', turn) end
local all = will_wait and (#group == 0 or #group < limit and not some_wait(room))
if all then redis.call('SADD', idle, node) end
if #group > 0 and some_wait(model) then ring_for(model, 1) end
write_all()
if not done then return fault(caught) end
return { beat, group, all and 1 or 0 }
