-- Appends events to the logs of runs, each with its number; a log is bounded in number and bytes.
local MOST_EVENTS, MOST_BYTES, OVERHEAD = 1000, 1000000, 200
local watched = {}
for i = 1, #ARGV, 5 do
  local id, attempt, number, kind, data = unpack(ARGV, i, i + 4)
  local status, now_at, watching = fields(id, 'status', 'attempt', 'watching')
  if status == 'processing' and now_at == attempt then
    local events = record_of(id) .. ':events'
    local entry = attempt .. '-' .. number
    if not redis.pcall('XADD', events, entry, 'type', kind, 'data', data).err then
      local size = redis.call('HINCRBY', record_of(id), 'events_size', #data + OVERHEAD)
      while redis.call('XLEN', events) > MOST_EVENTS or (size > MOST_BYTES and redis.call('XLEN', events) > 1) do
        local oldest = redis.call('XRANGE', events, '-', '+', 'COUNT', 1)[1]
        redis.call('XDEL', events, oldest[1])
        size = redis.call('HINCRBY', record_of(id), 'events_size', -(#oldest[2][4] + OVERHEAD))
      end
      if watching then watched[id] = watching end
    end
  end
end
for id, nodes in pairs(watched) do tell(nodes, 'news', id) end
