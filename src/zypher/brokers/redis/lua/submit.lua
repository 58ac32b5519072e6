-- Takes predictions in, each one argument (MessagePack); for each {'new'}, or {'known', record},
-- {'other', id} for a key that is another request's, {'full', why}.

local newest = tonumber(redis.call('GET', 'zypher:places') or '0')
local taken_in, opened = {}, {}

-- The request that has this key already: its id, and true if it is the same one.
local function holder_of(key, owner, fingerprint, wall)
  local other = redis.call('GET', key_of(owner, key))
  if other and is_known(other, wall) then return other, fields(other, 'fingerprint') == fingerprint end
end

-- Which limit leaves no room.
local function full(model, size, owner, max_queued, max_bytes, max_queued_of)
  if max_queued_of and tonumber(redis.call('HGET', 'zypher:owned', owner) or '0') >= max_queued_of then
    return 'max-queued-of'
  end
  if (number(queue_of(model), 'queued') or 0) >= max_queued then return 'max-queued' end
  if (number('zypher:total', 'bytes') or 0) + size > max_bytes then return 'max-queued-bytes' end
end

-- The name of a new entry at the end of a lane.
local function append(id, model, lane)
  local stream = lane_of(model, lane)
  if not opened[stream] then open_lane(model, lane) end
  opened[stream] = true
  return redis.call('XADD', stream, '*', 'id', id)
end

local function take_in(submission)
  local id, wall, time, keep, has_clocks, max_queued, max_bytes, max_queued_of =
    unpack(submission, 1, 8)
  local model, lane, size, owner, key, fingerprint, record = unpack(submission, 9, 15)
  owner = owner ~= '' and owner

  local status, expires, gone = fields(id, 'status', 'expires', 'gone')
  -- 'offered': it is sent again, for its answer was lost, and has ended meanwhile.
  if gone == 'offered' or is_there(status, expires, gone, wall) then
    return { 'known', redis.call('HGETALL', record_of(id)) }
  end
  if key ~= '' then
    local other, is_same = holder_of(key, owner or '', fingerprint, wall)
    if other and not is_same then return { 'other', other } end
    if other then return { 'known', redis.call('HGETALL', record_of(other)), other } end
  end
  local why = full(model, size, owner, max_queued, max_bytes, tonumber(max_queued_of))
  if why then return { 'full', why } end

  if redis.call('EXISTS', record_of(id)) == 1 then -- it has expired
    forget(id)
    redis.call('DEL', record_of(id))
  end
  newest = newest + 1
  local place, entry = text(newest), append(id, model, lane)
  redis.call('HSET', record_of(id), 'place', place, 'since', time, 'lane', lane, 'stream', lane,
    'entry', entry, unpack(record))
  if keep then enlist(id, owner) end
  if key ~= '' then redis.call('SET', key_of(owner or '', key), id) end
  if has_clocks then set_alarm(id) end
  later('ZADD', 'zypher:open', place, id)
  put(queue_of(model), lane .. ':newest', newest)
  count(model, lane, 1, size, owner)
  taken_in[model] = (taken_in[model] or 0) + 1
  return { 'new' }
end

local answers = {}
for i, submission in ipairs(ARGV) do
  -- What somebody has spoilt that this one needs is no harm to others.
  local done, answer = pcall(take_in, cmsgpack.unpack(submission))
  answers[i] = done and answer or fault(answer)
end
flush()
if next(taken_in) then redis.call('SET', 'zypher:places', text(newest)) end
for model, count in pairs(taken_in) do
  redis.call('SADD', 'zypher:queues', model)
  ring_for(model, count)
end
return answers
