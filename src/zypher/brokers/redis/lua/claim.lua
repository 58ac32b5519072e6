-- Gives a worker up to `limit` of a model: {beat, ids and records, 1 if those are all}. If they are, its
-- node is woken when more arrive.
local worker, node, model, room = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local limit, wall, time = tonumber(ARGV[5]), ARGV[6], ARGV[7]
local others_wait, will_wait = ARGV[8] == '1', ARGV[9] == '1'

-- One round of claims: 8 high, 4 normal, 1 low, spread so that none waits for a whole block.
local ROUND = { 1, 2, 1, 1, 2, 1, 3, 1, 2, 1, 1, 2, 1 }
local queue, idle, suspects = queue_of(model), 'zypher:idle:' .. room, room == model
local turn = tonumber(redis.call('HGET', queue, 'turn') or '0')
local beat = redis.call('INCR', 'zypher:beat')

-- It comes from a connection that its worker has given up: nobody would ever hear of what it gets.
local doubts = redis.call('HGET', 'zypher:doubts', worker)
if doubts and tonumber(doubts) > tonumber(ARGV[10]) then return { beat, {}, 0 } end

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
  redis.call('HSET', queue, lane, found)
end

local function next_lane()
  for _, lane in ipairs({ LANES[ROUND[turn + 1]], 'high', 'normal', 'low' }) do
    if waiting_in(model, lane, suspects) > 0 then
      local id, entry = head(model, lane, suspects)
      if not id then
        repair(lane)
        id, entry = head(model, lane, suspects)
      end
      if id then return lane, id, entry end
    end
  end
end

local function take(lane, id, entry)
  if entry then
    read(model, lane, worker, entry)
  else
    take_back(id, model, lane)
    hand_entry(id, model, worker)
  end
  count(id, model, lane, -1)
  redis.call('HDEL', record_of(id), 'lane', 'not_before')
  redis.call('HINCRBY', record_of(id), 'attempt', 1)
  redis.call('HSET', record_of(id), 'status', 'processing', 'started', wall, 'since', time,
    'worker', worker, 'node', node)
  redis.call('ZADD', 'zypher:leases', beat, id)
  redis.call('ZADD', running_of(model), time, id)
  set_alarm(id)
  tell(fields(id, 'watching'), 'news', id)
  return { id, redis.call('HGETALL', record_of(id)) }
end

if others_wait then redis.call('SADD', idle, node) end
local group, company = {}, nil
while #group < limit do
  local lane, id, entry = next_lane()
  if not lane then break end
  local its = fields(id, 'company')
  if #group > 0 and (its == false) ~= (company == false) then break end
  if its then
    limit = math.min(limit, tonumber(its))
    if #group >= limit then break end
  end
  company = its
  group[#group + 1] = take(lane, id, entry)
  turn = (turn + 1) % #ROUND
end
redis.call('HSET', queue, 'turn', turn)
local all = will_wait and (#group == 0 or #group < limit and not some_wait(room))
if all then redis.call('SADD', idle, node) end
if #group > 0 and some_wait(model) then ring_for(model) end
return { beat, group, all and 1 or 0 }
