-- Where a queued prediction stands: {lane, place, the first place in its lane, the newest, how many
-- wait in each lane}.
local id, wall = ARGV[1], tonumber(ARGV[2])
if not is_known(id, wall) then return nil end
local status, model, lane, place = fields(id, 'status', 'model', 'lane', 'place')
if status ~= 'queued' or not lane then return nil end
local _, _, first = head(model, lane, true)
local queue = queue_of(model)
local high, normal, low, newest = unpack(redis.call('HMGET', queue, 'high', 'normal', 'low', lane .. ':newest'))
return { lane, tonumber(place), first or tonumber(place), tonumber(newest),
  tonumber(high or '0'), tonumber(normal or '0'), tonumber(low or '0') }
