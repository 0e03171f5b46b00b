"""The scripts that Redis runs, each as one step. All times are Redis's own; all keys of a script have one hash tag."""

from __future__ import annotations

_NOW = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
"""

# KEYS: the runners, when checks were last seen, and the lease of every slot. ARGV: the runner, milliseconds of a lease, 1 if it has room,
# a character for each slot (1 if it is claimed), then triples: slot, check, milliseconds since it was seen.
# Returns a character for each slot (r this runner's, f free, o another's), then each live runner and whether it has room.
RENEW = (
    _NOW
    + """
local me, lasts = ARGV[1], tonumber(ARGV[2])
redis.call('HSET', KEYS[1], me, now .. ' ' .. ARGV[3])
redis.call('PEXPIRE', KEYS[1], 10 * lasts)
local slots, reply = {}, {}
for number = 3, #KEYS do
  local owner = redis.call('GET', KEYS[number])
  local claimed = string.sub(ARGV[4], number - 2, number - 2) == '1'
  if owner == me or (claimed and not owner) then
    redis.call('SET', KEYS[number], me, 'PX', lasts)
    slots[number - 2] = 'r'
  else
    slots[number - 2] = owner and 'o' or 'f'
  end
end
reply[1] = table.concat(slots)
local known = redis.call('HGETALL', KEYS[1])
for number = 1, #known, 2 do
  local at, room = string.match(known[number + 1], '(%d+) (%d)')
  if now - tonumber(at) <= lasts then
    reply[#reply + 1] = known[number]
    reply[#reply + 1] = room
  else
    redis.call('HDEL', KEYS[1], known[number])
  end
end
redis.call('PEXPIRE', KEYS[2], 86400000 * 400)
for number = 5, #ARGV, 3 do
  if slots[tonumber(ARGV[number]) + 1] == 'r' then
    redis.call('HSET', KEYS[2], ARGV[number + 1], string.format('%.0f', now - tonumber(ARGV[number + 2])))
  end
end
return reply
"""
)

# KEYS: lease and fence of each slot. ARGV: the runner, milliseconds of a lease. Returns for each slot its fence, 0 if another has it.
ACQUIRE = """
local fences = {}
for number = 1, #KEYS, 2 do
  local taken = redis.call('SET', KEYS[number], ARGV[1], 'NX', 'PX', tonumber(ARGV[2]))
  fences[#fences + 1] = taken and redis.call('INCR', KEYS[number + 1]) or 0
end
return fences
"""

# KEYS: the runners, then lease and fence of each slot. ARGV: the runner, 1 if it goes for good, milliseconds of a lease, then for each slot
# the runner that gets it, '' for none. Returns how many were given.
RELEASE = """
local given = 0
if ARGV[2] == '1' then redis.call('HDEL', KEYS[1], ARGV[1]) end
for number = 2, #KEYS, 2 do
  if redis.call('GET', KEYS[number]) == ARGV[1] then
    local heir = ARGV[3 + number / 2]
    given = given + 1
    if heir == '' then
      redis.call('DEL', KEYS[number])
    else
      redis.call('SET', KEYS[number], heir, 'PX', tonumber(ARGV[3]))
      redis.call('INCR', KEYS[number + 1])
    end
  end
end
return given
"""

# KEYS: when checks were last seen. ARGV: checks. Returns for each the milliseconds since then, -1 if nobody knows.
SEEN = (
    _NOW
    + """
local ages = {}
for number, name in ipairs(ARGV) do
  local at = redis.call('HGET', KEYS[1], name)
  ages[number] = at and math.max(0, now - tonumber(at)) or -1
end
return ages
"""
)

# A budget in windows that are aligned to UTC. KEYS: the budget. ARGV: amount, most, seconds of a window, and what this runner saw last:
# when its window began, how much was spent in it, and the number of changes. A store that has seen fewer changes has forgotten some.
# Returns 1 or 0 (refused), the sum, when the window began, and the number of changes.
RESERVE = (
    _NOW
    + """
local amount, most, window = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local starts = math.floor(now / 1000 / window) * window
local known = redis.call('HMGET', KEYS[1], 'starts', 'spent', 'changes')
local spent, changes = 0, 0
if known[1] and tonumber(known[1]) == starts then spent, changes = tonumber(known[2]), tonumber(known[3]) end
if tonumber(ARGV[4]) == starts and changes < tonumber(ARGV[6]) then
  spent, changes = math.max(spent, tonumber(ARGV[5])), tonumber(ARGV[6])
end
local allowed = spent + amount <= most + 1e-9
if allowed then spent = spent + amount end
changes = changes + 1
redis.call('HSET', KEYS[1], 'starts', string.format('%.17g', starts), 'spent', string.format('%.17g', spent), 'changes', changes)
redis.call('PEXPIRE', KEYS[1], math.ceil(2 * window * 1000))
return {allowed and 1 or 0, string.format('%.17g', spent), string.format('%.17g', starts), changes}
"""
)

# KEYS: the budget. ARGV: when its window began, what to add to the sum. Returns the sum and the number of changes.
SETTLE = """
local known = redis.call('HMGET', KEYS[1], 'starts', 'spent', 'changes')
if not known[1] or tonumber(known[1]) ~= tonumber(ARGV[1]) then return {} end
local spent = math.max(0, tonumber(known[2]) + tonumber(ARGV[2]))
redis.call('HSET', KEYS[1], 'spent', string.format('%.17g', spent), 'changes', known[3] + 1)
return {string.format('%.17g', spent), known[3] + 1}
"""

# A limit in a sliding window. KEYS: the limit. ARGV: most, milliseconds of the window, milliseconds ahead until which a slot counts as
# used, and what this runner saw last: how many were taken, how many milliseconds ago, and a slot that must still be there ('' for none);
# then the names of the slots to take. If that slot is gone, the store has forgotten: what this runner saw last is put back, by names that
# all runners share, so that two who saw the same put it back once. Returns 1 or 0 (refused), and how many are taken.
LIMIT = (
    _NOW
    + """
local most, window, ahead = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - window)
if ARGV[6] ~= '' and not redis.call('ZSCORE', KEYS[1], ARGV[6]) then
  local at = now - tonumber(ARGV[5])
  for number = 1, tonumber(ARGV[4]) do
    if tonumber(redis.call('ZSCORE', KEYS[1], 'again:' .. number) or 0) < at then redis.call('ZADD', KEYS[1], at, 'again:' .. number) end
  end
  redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - window)
end
local taken = redis.call('ZCARD', KEYS[1])
local allowed = taken + #ARGV - 6 <= most
if allowed then
  for number = 7, #ARGV do redis.call('ZADD', KEYS[1], now + ahead, ARGV[number]) end
  taken = taken + #ARGV - 6
end
redis.call('PEXPIRE', KEYS[1], math.ceil(window + ahead) + 1000)
return {allowed and 1 or 0, taken}
"""
)

# KEYS: the limit. ARGV: how many of the names are used; then the used slots, which count from now, and the unused ones, which go.
SENT = (
    _NOW
    + """
for number = 2, #ARGV do
  if number - 1 <= tonumber(ARGV[1]) then redis.call('ZADD', KEYS[1], 'XX', now, ARGV[number])
  else redis.call('ZREM', KEYS[1], ARGV[number]) end
end
return 0
"""
)

# KEYS: the hold. ARGV: milliseconds, why. A longer hold isn't shortened.
HOLD = """
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[1]) then redis.call('SET', KEYS[1], ARGV[2], 'PX', tonumber(ARGV[1])) end
return 0
"""
