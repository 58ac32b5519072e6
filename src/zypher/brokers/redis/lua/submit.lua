-- Takes a prediction in: {'new'}, or {'known', record}, {'other', id} for a key that is another
-- request's, {'full', why}.
local id, wall, time = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local keep, waits = ARGV[4] == '1', ARGV[5] == '1'
local max_queued, max_bytes = tonumber(ARGV[6]), tonumber(ARGV[7])
local model, lane, size, owner, key = ARGV[8], ARGV[9], tonumber(ARGV[10]), ARGV[11], ARGV[12]
local fingerprint, max_queued_of = ARGV[13], tonumber(ARGV[14])

if is_known(id, wall) then return { 'known', redis.call('HGETALL', record_of(id)) } end
if key ~= '' then
  local other = redis.call('GET', key_of(owner, key))
  if other and is_known(other, wall) then
    if fields(other, 'fingerprint') ~= fingerprint then return { 'other', other } end
    return { 'known', redis.call('HGETALL', record_of(other)), other }
  end
end
if max_queued_of and tonumber(redis.call('HGET', 'zypher:owned', owner) or '0') >= max_queued_of then
  return { 'full', 'max-queued-of' }
end
local queued = tonumber(redis.call('HGET', queue_of(model), 'queued') or '0')
if queued >= max_queued then return { 'full', 'max-queued' } end
local bytes = tonumber(redis.call('HGET', 'zypher:total', 'bytes') or '0')
if bytes + size > max_bytes then return { 'full', 'max-queued-bytes' } end

if redis.call('EXISTS', record_of(id)) == 1 then -- it has expired
  forget(id)
  redis.call('DEL', record_of(id))
end
local place = redis.call('INCR', 'zypher:places')
local record = {}
for i = 15, #ARGV do record[#record + 1] = ARGV[i] end
redis.call('HSET', record_of(id), 'place', place, 'since', text(time), unpack(record))
if keep then
  redis.call('HSET', record_of(id), 'kept', '1')
  enlist(id)
end
if waits then redis.call('HSET', record_of(id), 'waits', '1') end
if key ~= '' then redis.call('SET', key_of(owner, key), id) end
redis.call('ZADD', 'zypher:open', place, id)
redis.call('SADD', 'zypher:queues', model)
append(id, model, lane, place)
count(id, model, lane, 1)
set_alarm(id)
ring_for(model)
return { 'new' }
