-- Appends events to the logs of runs, each with its number; a log is bounded in number and bytes.
local MOST_EVENTS, MOST_BYTES, OVERHEAD = 1000, 1000000, 200

-- Takes the oldest events out of a log that has grown by so many bytes.
local function bound(id, added)
  local events = events_of(id)
  local size = redis.call('HINCRBY', record_of(id), 'events_size', added)
  local left, freed, first = redis.call('XLEN', events), 0, nil
  if left <= MOST_EVENTS and size <= MOST_BYTES then return end
  for _, event in ipairs(redis.call('XRANGE', events, '-', '+')) do
    local fits = left <= MOST_EVENTS and (size - freed <= MOST_BYTES or left == 1)
    if fits then
      first = event[1]
      break
    end
    left, freed = left - 1, freed + #event[2][4] + OVERHEAD
  end
  if freed > 0 then
    redis.call('XTRIM', events, 'MINID', first)
    redis.call('HINCRBY', record_of(id), 'events_size', -freed)
  end
end

local added = {}
for i = 1, #ARGV, 5 do
  local id, attempt, number, kind, data = unpack(ARGV, i, i + 4)
  local status, now_at = fields(id, 'status', 'attempt')
  if status == 'processing' and now_at == attempt then
    local entry = attempt .. '-' .. number
    -- One that is there already was sent before.
    if not redis.pcall('XADD', events_of(id), entry, 'type', kind, 'data', data).err then
      added[id] = (added[id] or 0) + #data + OVERHEAD
    end
  end
end
for id, bytes in pairs(added) do
  bound(id, bytes)
  tell(fields(id, 'watching'), 'news', id)
end
