-- What a tenant or a key has used. Others may write there, too: what is none of ours goes, and lets no call fail.

-- A whole number as it is stored, 0 where there is none; nil where there is something else.
local function whole_number(text)
    if not text then return 0 end
    return #text < 18 and string.match(text, '^%-?%d+$') and tonumber(text)
end

-- The characters and the bytes of a day.
local function used_in_day(key)
    local used = redis.pcall('HMGET', key, 'characters', 'bytes')
    local characters, bytes = whole_number(used[1]), whole_number(used[2])
    if not used.err and characters and bytes then return characters, bytes end
    redis.call('DEL', key)
    return 0, 0
end

-- Adds to a field of what tenants have used in a day, which is of many.
local function add_used(day, field, amount)
    local added = redis.pcall('HINCRBY', day, field, amount)
    if type(added) ~= 'table' then return end
    if redis.call('TYPE', day).ok ~= 'hash' then redis.call('DEL', day) end
    redis.call('HSET', day, field, amount)
end
