"""The Lua that the queue is made of, and how it is sent: several scripts in one round trip.

Keys follow arq's names, so that arq's own tools read the queue: `arq:job:ID` holds the payload,
`arq:in-progress:ID` the lease. The value of the lease is its owner's token; only its owner gives it up.
Redis Cluster is not supported: the keys of jobs are made inside the scripts.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from arq.constants import in_progress_key_prefix, job_key_prefix
from redis.asyncio import Redis
from redis.exceptions import NoScriptError

_PRELUDE = f"""
local JOB = '{job_key_prefix}'
local LEASE = '{in_progress_key_prefix}'
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
"""

PAGE = 128
"""Ids looked at in one step of the walk past held ones."""

WALK_MAX = 10_000
"""Ids that one claim walks past at most: a hundred workers of a hundred slots."""

DUE_MAX = 1_000
"""Delayed ids that one claim brings back at most; the rest follows in the next."""

# KEYS: ready, delayed and ranks of each lane, first lane first.
# ARGV: token, lease in ms, free slots in all, then the free slots of each lane.
# Answer: now, the next time that something falls due (-1: never), then index of lane, id, score, payload of each job.
_CLAIM = f"""
local free = tonumber(ARGV[3])
local next_due = -1
local answer = {{now, next_due}}

local function sooner(row)
  local at = tonumber(row[2])
  if at and (next_due < 0 or at < next_due) then next_due = at end
end

local function bring_back(ready, delayed, ranks)
  local due = redis.call('ZRANGEBYSCORE', delayed, '-inf', now, 'LIMIT', 0, {DUE_MAX})
  if #due == 0 then return end
  local scores = redis.call('HMGET', ranks, unpack(due))
  for i, id in ipairs(due) do
    redis.call('ZADD', ready, 'NX', scores[i] or now, id)
  end
  redis.call('ZREM', delayed, unpack(due))
  redis.call('HDEL', ranks, unpack(due))
end

local function take(lane, ready, want)
  local offset = 0
  while want > 0 and offset < {WALK_MAX} do
    local rows = redis.call('ZRANGEBYSCORE', ready, '-inf', now, 'WITHSCORES', 'LIMIT', offset, {PAGE})
    if #rows == 0 then break end
    local leases = {{}}
    for i = 1, #rows, 2 do leases[#leases + 1] = LEASE .. rows[i] end
    local holders = redis.call('MGET', unpack(leases))
    local gone = {{}}
    for i, holder in ipairs(holders) do
      if want > 0 and not holder then
        local id = rows[2 * i - 1]
        local payload = redis.call('GET', JOB .. id)
        if not payload then
          gone[#gone + 1] = id
        elseif redis.call('SET', leases[i], ARGV[1], 'NX', 'PX', ARGV[2]) then
          for _, item in ipairs({{lane, id, rows[2 * i], payload}}) do answer[#answer + 1] = item end
          want = want - 1
          free = free - 1
        end
      end
    end
    if #gone > 0 then redis.call('ZREM', ready, unpack(gone)) end
    offset = offset + #holders - #gone
  end
end

for lane = 1, #KEYS / 3 do
  local ready, delayed, ranks = KEYS[3 * lane - 2], KEYS[3 * lane - 1], KEYS[3 * lane]
  local want = math.min(free, tonumber(ARGV[3 + lane]))
  if want > 0 then
    bring_back(ready, delayed, ranks)
    take(lane, ready, want)
    sooner(redis.call('ZRANGE', delayed, 0, 0, 'WITHSCORES'))
    sooner(redis.call('ZRANGEBYSCORE', ready, '(' .. now, '+inf', 'WITHSCORES', 'LIMIT', 0, 1))
  end
end
answer[2] = next_due
return answer
"""

# KEYS: as for the claim. ARGV: token, then index of lane, id, delay in ms (-1: done) of each job.
# Answer: how many were still ours. A lease that ran out, or that is another's by now, is left alone.
_FINISH = """
local ours = 0
for i = 2, #ARGV, 3 do
  local lane, id, delay = tonumber(ARGV[i]), ARGV[i + 1], tonumber(ARGV[i + 2])
  local ready, delayed, ranks = KEYS[3 * lane - 2], KEYS[3 * lane - 1], KEYS[3 * lane]
  if redis.call('GET', LEASE .. id) == ARGV[1] then
    ours = ours + 1
    if delay < 0 then
      redis.call('DEL', LEASE .. id, JOB .. id)
      redis.call('ZREM', ready, id)
    else
      local score = redis.call('ZSCORE', ready, id)
      redis.call('DEL', LEASE .. id)
      if score then
        redis.call('ZADD', delayed, now + delay, id)
        redis.call('HSET', ranks, id, score)
        redis.call('ZREM', ready, id)
      end
    end
  end
end
return ours
"""

# ARGV: token, lease in ms, ids. Answer: how many leases are ours now.
# A lease that is gone (Redis was wiped, or the renewal came late) is taken back: the job does still run here.
_RENEW = """
local ours = 0
for i = 3, #ARGV do
  local key = LEASE .. ARGV[i]
  local holder = redis.call('GET', key)
  if holder == ARGV[1] or not holder then
    redis.call('SET', key, ARGV[1], 'PX', ARGV[2])
    ours = ours + 1
  end
end
return ours
"""

# KEYS: as for the claim. ARGV: wake channel, expiry of payloads in ms, then index of lane, id, score, payload.
# Answer: how many bells are new. A bell that hangs already keeps its rank and payload, and lives longer.
# A score of the future would be waited for, so a producer's fast clock is cut to the time of Redis.
_RING = """
local new = 0
for i = 3, #ARGV, 4 do
  local lane, id, score, payload = tonumber(ARGV[i]), ARGV[i + 1], tonumber(ARGV[i + 2]), ARGV[i + 3]
  local ready, delayed = KEYS[3 * lane - 2], KEYS[3 * lane - 1]
  if not redis.call('SET', JOB .. id, payload, 'NX', 'PX', ARGV[2]) then
    redis.call('PEXPIRE', JOB .. id, ARGV[2])
  end
  if not redis.call('ZSCORE', delayed, id) then
    new = new + redis.call('ZADD', ready, 'NX', string.format('%d', math.min(score, now)), id)
  end
end
if new > 0 then redis.call('PUBLISH', ARGV[1], new) end
return new
"""

# KEYS: as for the claim. ARGV: width of a band, number of bands.
# Answer: now, then ready, delayed, held and the score of the oldest (empty: none) of each lane.
_DEPTHS = f"""
local width, bands = tonumber(ARGV[1]), tonumber(ARGV[2])
local answer = {{now}}
for lane = 1, #KEYS / 3 do
  local ready, delayed = KEYS[3 * lane - 2], KEYS[3 * lane - 1]
  local leases, held, oldest, oldest_time = {{}}, 0, '', nil
  for i, id in ipairs(redis.call('ZRANGE', ready, 0, {DUE_MAX} - 1)) do leases[i] = LEASE .. id end
  if #leases > 0 then held = redis.call('EXISTS', unpack(leases)) end
  for band = 0, bands - 1 do
    local low, high = string.format('%d', -band * width), string.format('(%d', (1 - band) * width)
    local row = redis.call('ZRANGEBYSCORE', ready, low, high, 'WITHSCORES', 'LIMIT', 0, 1)
    local time = row[2] and tonumber(row[2]) + band * width
    if time and (not oldest_time or time < oldest_time) then oldest, oldest_time = row[2], time end
  end
  local counts = {{redis.call('ZCARD', ready), redis.call('ZCARD', delayed), held, oldest}}
  for _, item in ipairs(counts) do answer[#answer + 1] = item end
end
return answer
"""


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script and the digest that Redis knows it by."""

    text: str
    digest: str


def _script(body: str) -> Script:
    text = _PRELUDE + body
    return Script(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


CLAIM = _script(_CLAIM)
FINISH = _script(_FINISH)
RENEW = _script(_RENEW)
RING = _script(_RING)
DEPTHS = _script(_DEPTHS)

_ALL = (CLAIM, FINISH, RENEW, RING, DEPTHS)

Argument = str | bytes | int


@dataclass(frozen=True, slots=True)
class Call:
    """One script with what it is called with."""

    script: Script
    keys: Sequence[str]
    args: Sequence[Argument]


async def run_scripts(redis: Redis, calls: Sequence[Call]) -> list[object]:
    """Run scripts in their order, in one round trip, and return their answers or the errors they ended with.

    A Redis that was restarted knows no scripts: all are loaded at once, so that later calls keep their order, and
    those that were missed are run in a second round trip.
    Raises `RedisError` or `OSError` when Redis could not be talked to; some of the scripts may have run then.
    """
    answers = await _send(redis, calls)
    missed = [i for i, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
    if missed:
        again = await _send(redis, [calls[i] for i in missed], load=True)
        for i, answer in zip(missed, again, strict=True):
            answers[i] = answer
    return answers


async def run_script(redis: Redis, call: Call) -> object:
    """Run one script and return its answer. Raises `RedisError` or `OSError`."""
    (answer,) = await run_scripts(redis, [call])
    if isinstance(answer, Exception):
        raise answer
    return answer


async def _send(redis: Redis, calls: Sequence[Call], *, load: bool = False) -> list[object]:
    async with redis.pipeline(transaction=False) as pipe:
        if load:
            for script in _ALL:
                pipe.script_load(script.text)
        for call in calls:
            pipe.execute_command("EVALSHA", call.script.digest, len(call.keys), *call.keys, *call.args)
        answers: list[object] = await pipe.execute(raise_on_error=False)
        return answers[-len(calls) :]
