-- Looks at up to 1,000 kept predictions from a cursor on, newest first: {where to go on, records
-- without input and result}, at most `limit` that fit.
local cursor, limit, wall = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local status, model, owner = ARGV[4], ARGV[5], ARGV[6]
local FIELDS = {}
for i = 7, #ARGV do FIELDS[#FIELDS + 1] = ARGV[i] end
local from = cursor == '' and '+' or '(' .. cursor
local list = owner == '' and 'zypher:list' or list_of(owner)
local ids = redis.call('ZRANGE', list, from, '-', 'BYLEX', 'REV', 'LIMIT', 0, 1000)
local found = {}
for _, id in ipairs(ids) do
  local its_status, its_model = fields(id, 'status', 'model')
  if is_known(id, wall) and (status == '' or its_status == status) and (model == '' or its_model == model) then
    found[#found + 1] = { id, redis.call('HMGET', record_of(id), unpack(FIELDS)) }
    if #found == limit then return { id, found } end
  end
end
return { #ids == 1000 and ids[1000] or '', found }
