"""The Lua of the write governor: rate budget, queue of those who wait, and circuit breaker, in one round trip.

All times are milliseconds of Redis' own clock. Keys of one client code:
  log      permits by the time at which they were given; it serves the second, the minute and the hour
  queue    commands that wait, most urgent first, then first come
  back     the same commands, by the time at which they must have come back
  segment  permits of one exchange segment, where that ceiling is the lower one
  state    hash: `seeded`, and the breaker's `open_until`, `open_for`, `probe`, `probe_until`, `shaky_until`
  results  how the last writes ended, while the broker is shaky
"""

import hashlib
from dataclasses import dataclass

_NOW = """
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
"""

GRACE_MS = 3000
"""How late a waiting command may come back before its place in the queue is given away."""

QUEUE_TTL_MS = 2 * 3600 * 1000

# KEYS: epoch.
_BEGIN = """
redis.call('SET', KEYS[1], now, 'NX')
return 1
"""

# KEYS: epoch, state, log, queue, back, segment.
# ARGV: 1 window, 2 permit, 3 who waits (empty: nobody), 4 urgent, 5 rank before time, 6 per second, 7 per minute,
# 8 per hour, 9 per second in the segment (0: no such limit), 10 the permit is renewed, 11 life of a probe,
# 12 minute, 13 hour.
# Answer: {1, is a probe, broker is shaky} granted; {0, wait} over budget; {-1, wait} breaker open; {-2} to be seeded.
#
# A Redis without an epoch was wiped: nobody knows what was sent within the window, so nothing is for its length.
# Ordinary writes leave a third of each second, and a tenth of each minute and hour, to urgent ones.
_TAKE = f"""
local window, permit, waiter, urgent = tonumber(ARGV[1]), ARGV[2], ARGV[3], ARGV[4] == '1'
local minute, hour = tonumber(ARGV[12]), tonumber(ARGV[13])
local epoch = tonumber(redis.call('GET', KEYS[1]) or '')
if not epoch or epoch > now then
  redis.call('SET', KEYS[1], now)
  epoch = now
end
local blackout = epoch + window - now

local state = redis.call('HMGET', KEYS[2], 'open_until', 'probe', 'probe_until', 'shaky_until', 'seeded')
local long = tonumber(ARGV[7]) > 0 or tonumber(ARGV[8]) > 0
if long and not state[5] then return {{-2}} end

local probing = 0
if state[1] then
  local probe_until = tonumber(state[3] or '0')
  if state[2] ~= permit then
    if now < probe_until then return {{-1, probe_until - now}} end
    if now < tonumber(state[1]) and not urgent then return {{-1, tonumber(state[1]) - now}} end
  end
  probing = 1
end

local log, horizon = KEYS[3], window
if tonumber(ARGV[7]) > 0 then horizon = minute end
if tonumber(ARGV[8]) > 0 then horizon = hour end
redis.call('ZREMRANGEBYSCORE', log, '-inf', now - horizon)

local function grant()
  redis.call('ZADD', log, now, permit)
  redis.call('PEXPIRE', log, horizon + window)
  if tonumber(ARGV[9]) > 0 then
    redis.call('ZADD', KEYS[6], now, permit)
    redis.call('PEXPIRE', KEYS[6], 2 * window)
  end
  if probing == 1 then redis.call('HSET', KEYS[2], 'probe', permit, 'probe_until', now + ARGV[11]) end
  local shaky = 0
  if state[4] and tonumber(state[4]) > now then shaky = 1 end
  return {{1, probing, shaky}}
end

if ARGV[10] == '1' and blackout <= 0 then
  local given = redis.call('ZSCORE', log, permit)
  if given and tonumber(given) > now - window then return grant() end
end

local ahead, queued, order = 0, false, string.format('%.0f', ARGV[5] + now)
if redis.call('ZCARD', KEYS[4]) > 0 then
  local gone = redis.call('ZRANGEBYSCORE', KEYS[5], '-inf', now, 'LIMIT', 0, 500)
  if #gone > 0 then
    redis.call('ZREM', KEYS[4], unpack(gone))
    redis.call('ZREM', KEYS[5], unpack(gone))
  end
  if ARGV[10] ~= '1' then
    queued = waiter ~= '' and redis.call('ZRANK', KEYS[4], waiter)
    ahead = queued or redis.call('ZCOUNT', KEYS[4], '-inf', '(' .. order)
  end
end

local function wait_for(key, limit, span, reserve)
  if limit <= 0 then return 0 end
  if not urgent then limit = math.max(1, limit - math.ceil(limit / reserve)) end
  local used = redis.call('ZCOUNT', key, '(' .. (now - span), '+inf')
  local short = ahead - (limit - used)
  if short < 0 then return 0 end
  if short >= used then return math.ceil((short + 1) * span / limit) end
  local first = redis.call('ZCARD', key) - used
  local row = redis.call('ZRANGE', key, first + short, first + short, 'WITHSCORES')
  return row[2] + span - now + 1
end

local wait = math.max(
  blackout,
  wait_for(log, tonumber(ARGV[6]), window, 3),
  wait_for(log, tonumber(ARGV[7]), minute, 10),
  wait_for(log, tonumber(ARGV[8]), hour, 10),
  wait_for(KEYS[6], tonumber(ARGV[9]), window, 3)
)
if wait <= 0 then
  if queued then
    redis.call('ZREM', KEYS[4], waiter)
    redis.call('ZREM', KEYS[5], waiter)
  end
  return grant()
end
if waiter ~= '' then
  redis.call('ZADD', KEYS[4], 'NX', order, waiter)
  redis.call('ZADD', KEYS[5], now + wait + {GRACE_MS}, waiter)
  redis.call('PEXPIRE', KEYS[4], {QUEUE_TTL_MS})
  redis.call('PEXPIRE', KEYS[5], {QUEUE_TTL_MS})
end
return {{0, wait}}
"""

# KEYS: state, log, segment. ARGV: permit, is a probe, in a limited segment, life of a probe, life of the keys.
# The permit counts as of now: its write has not been answered yet, so it may reach the broker at this moment.
_KEEP = """
redis.call('ZADD', KEYS[2], now, ARGV[1])
if redis.call('PTTL', KEYS[2]) < tonumber(ARGV[5]) then redis.call('PEXPIRE', KEYS[2], ARGV[5]) end
if ARGV[3] == '1' then
  redis.call('ZADD', KEYS[3], now, ARGV[1])
  redis.call('PEXPIRE', KEYS[3], ARGV[5])
end
if ARGV[2] == '1' and redis.call('HGET', KEYS[1], 'probe') == ARGV[1] then
  redis.call('HSET', KEYS[1], 'probe_until', now + ARGV[4])
end
return 1
"""

# KEYS: state, log, segment. ARGV: permit. Nothing was written under the permit.
_GIVE_BACK = """
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('ZREM', KEYS[3], ARGV[1])
if redis.call('HGET', KEYS[1], 'probe') == ARGV[1] then redis.call('HDEL', KEYS[1], 'probe', 'probe_until') end
return 1
"""

# KEYS: state, log. ARGV: the hour, then how long ago (in ms) and the name of each write that was sent.
_SEED = """
for i = 2, #ARGV, 2 do redis.call('ZADD', KEYS[2], 'NX', now - ARGV[i], ARGV[i + 1]) end
redis.call('PEXPIRE', KEYS[2], ARGV[1])
redis.call('HSET', KEYS[1], 'seeded', now)
return 1
"""

# KEYS: state, results. ARGV: 1 permit, 2 is a probe, 3 result (1 bad, 0 good, -1 neutral), 4 window, 5 how many
# results, 6 how many bad ones open, 7 open for, 8 open for at most, 9 rest after a failed probe.
# Answer: 1 opened, 2 closed, 0 neither.
_REPORT = """
local result = tonumber(ARGV[3])
local open_for = redis.call('HGET', KEYS[1], 'open_for')
if open_for then
  if ARGV[2] ~= '1' then return 0 end
  if result == 0 then
    redis.call('HDEL', KEYS[1], 'open_until', 'open_for', 'probe', 'probe_until', 'shaky_until')
    redis.call('DEL', KEYS[2])
    return 2
  end
  if redis.call('HGET', KEYS[1], 'probe') == ARGV[1] then redis.call('HDEL', KEYS[1], 'probe', 'probe_until') end
  if result == 1 then
    local again = math.min(2 * open_for, tonumber(ARGV[8]))
    redis.call('HSET', KEYS[1], 'open_until', now + again, 'open_for', again, 'probe_until', now + ARGV[9])
  end
  return 0
end
if result < 0 then return 0 end
redis.call('RPUSH', KEYS[2], now .. ':' .. ARGV[3])
redis.call('LTRIM', KEYS[2], -ARGV[5], -1)
redis.call('PEXPIRE', KEYS[2], ARGV[4])
if result == 0 then return 0 end
redis.call('HSET', KEYS[1], 'shaky_until', now + ARGV[4])
local bad = 0
for _, row in ipairs(redis.call('LRANGE', KEYS[2], 0, -1)) do
  local at, how = string.match(row, '^(%d+):(%d)$')
  if how == '1' and tonumber(at) > now - ARGV[4] then bad = bad + 1 end
end
if bad < tonumber(ARGV[6]) then return 0 end
redis.call('HSET', KEYS[1], 'open_until', now + ARGV[7], 'open_for', ARGV[7])
redis.call('HDEL', KEYS[1], 'probe', 'probe_until', 'shaky_until')
redis.call('DEL', KEYS[2])
return 1
"""

# KEYS: log. ARGV: permit, per second, window, per minute (0: no such limit), minute. Answer: 0 granted, else the wait.
_READ = """
local function wait_for(limit, span)
  if limit <= 0 then return 0 end
  local used = redis.call('ZCOUNT', KEYS[1], '(' .. (now - span), '+inf')
  if used < limit then return 0 end
  local row = redis.call('ZRANGE', KEYS[1], -limit, -limit, 'WITHSCORES')
  return row[2] + span - now + 1
end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - ARGV[5])
local wait = math.max(wait_for(tonumber(ARGV[2]), tonumber(ARGV[3])), wait_for(tonumber(ARGV[4]), tonumber(ARGV[5])))
if wait > 0 then return wait end
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[5])
return 0
"""


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script and the digest that Redis knows it by."""

    text: str
    digest: str


def _script(body: str) -> Script:
    text = _NOW + body
    return Script(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


BEGIN = _script(_BEGIN)
TAKE = _script(_TAKE)
KEEP = _script(_KEEP)
GIVE_BACK = _script(_GIVE_BACK)
SEED = _script(_SEED)
REPORT = _script(_REPORT)
READ = _script(_READ)
