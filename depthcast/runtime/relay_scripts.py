"""The Lua scripts of a relay: each writes only while the relay holds the lease of the partition's copy.

The lease is the key `leader`. So an ingestor cannot lead a partition of a copy, and a relay writes nothing
where an ingestor leads. What is compared and what is written is one step, as for the writes of a leader.
"""

from typing import Final

from depthcast.shared.lua import BEFORE

_COMMON: Final = (
    """
local function wrong_type(key, kind)
  local held = redis.call('TYPE', key).ok
  if held ~= 'none' and held ~= kind then
    return redis.error_reply('WRONGTYPE ' .. key .. ' holds a ' .. held .. ', not a ' .. kind)
  end
end
local function last(key)
  if redis.call('TYPE', key).ok == 'none' then return '0-0' end
  local info = redis.call('XINFO', 'STREAM', key)
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then return info[i + 1] end
  end
end
"""
    + BEFORE
    + """\
local refusal = wrong_type(KEYS[1], 'string')
for i = 2, #KEYS do refusal = refusal or wrong_type(KEYS[i], 'stream') end
if refusal then return refusal end
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return {0, 'lease', holder} end
-- The first write: a server that refuses writes refuses this one, and nothing is written.
local function renew() redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) end
"""
)
"""KEYS[1]: the lease; all others are streams. ARGV: our name, the duration of the lease (ms), then others."""

TAKE: Final = (
    _COMMON
    + """
renew()
return {1, last(KEYS[2]), redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)}
"""
)
"""Take the lease or keep it. KEYS: lease, deltas. Replies {1, the last ID, the newest entry in a list}."""

APPEND: Final = (
    _COMMON
    + """
local found = last(KEYS[2])
if found ~= ARGV[3] then return {0, 'deltas', found} end
local entries = {}
for at = 5, #ARGV, 2 do entries[#entries + 1] = {ARGV[at], cmsgpack.unpack(ARGV[at + 1])} end
renew()
if ARGV[4] == 'replace' then redis.call('DEL', KEYS[2]) end
for _, entry in ipairs(entries) do redis.call('XADD', KEYS[2], entry[1], unpack(entry[2])) end
return {1}
"""
)
"""Compare-and-append. KEYS: lease, deltas. ARGV from 3: the last ID that has to be there, `replace` to delete
the stream first, and for each entry its ID and a msgpack array of names and values."""

STORE: Final = (
    _COMMON
    + """
renew()
for i = 2, #KEYS do
  local key = KEYS[i]
  if ARGV[3] == 'replace' then redis.call('DEL', key) end
  for _, entry in ipairs(cmsgpack.unpack(ARGV[i + 2])) do
    if before(last(key), entry[1]) then
      redis.call('XADD', key, 'MAXLEN', 2, entry[1], unpack(entry[2]))
    end
  end
end
return {1}
"""
)
"""Write snapshots. KEYS: lease, then streams of snapshots. ARGV from 3: `replace` to delete the streams
first, then for each stream a msgpack array of entries `[ID, [name, value, …]]`. What is there already is
left."""

LAST: Final = (
    _COMMON
    + """
local found = {1}
for i = 2, #KEYS do found[i] = last(KEYS[i]) end
return found
"""
)
"""The last IDs of streams. KEYS: lease, then streams. Replies {1, the last ID of each}."""

TRIM: Final = (
    _COMMON
    + """
local newest = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)[1]
if not newest or before(newest[1], ARGV[3]) then return {1} end
renew()
redis.call('XTRIM', KEYS[2], 'MINID', ARGV[3])
return {1}
"""
)
"""Trim a copy to begin where its source does, never wholly. KEYS: lease, deltas. ARGV[3]: the first ID."""

RELEASE: Final = """
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
"""
"""Give the lease back if it is ours. KEYS: lease. ARGV: our name."""

CLAIM: Final = """
local held = redis.call('HGETALL', KEYS[1])
local found = {}
for i = 1, #held, 2 do found[held[i]] = held[i + 1] end
if #held > 0 and not found['copy_of'] then return {0, 'own', ''} end
if found['copy_of'] and found['copy_of'] ~= ARGV[1] and ARGV[2] ~= 'same' then
  return {0, 'copy', found['copy_of']}
end
for i = 4, #ARGV, 2 do
  if found[ARGV[i]] and found[ARGV[i]] ~= ARGV[i + 1] then return {0, ARGV[i], found[ARGV[i]]} end
end
if ARGV[3] == 'look' then return {1, #held} end
redis.call('HSET', KEYS[1], 'copy_of', ARGV[1], 'copy_offset_us', ARGV[3], unpack(ARGV, 4))
return {1, #held}
"""
"""Write `meta` of a copy, unless the deployment is an own one, or a copy of another source.

KEYS: meta. ARGV: the source's name, `same` if its data are known to be those of the copy, the offset of the
clocks (µs; `look`: write nothing), then the names and values of the other fields, which never change. Replies
{1, how many words were there}, or {0, what differs, what is there}.
"""
