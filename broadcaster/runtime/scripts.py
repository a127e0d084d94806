"""The Lua scripts: every write of a leader is fenced inside Redis, in the same step as the write itself.

In a pipeline or MULTI a refused XADD would not stop the commands after it; in a script the comparison comes first and
nothing else runs when it fails (`docs/protocol.md`, section 2.2).
"""

from typing import Final

_LAST: Final = """
local function last(key)
  if redis.call('EXISTS', key) == 0 then return '0-0' end
  local info = redis.call('XINFO', 'STREAM', key)
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then return info[i + 1] end
  end
end
"""

PUBLISH: Final = (
    _LAST
    + """
-- Decimal text of up to 20 digits: longer is larger, equal lengths compare as text (a double would lose digits).
local function less(a, b)
  if #a ~= #b then return #a < #b end
  return a < b
end
local function before(a, b)
  local a1, a2 = string.match(a, '^(%d+)-(%d+)$')
  local b1, b2 = string.match(b, '^(%d+)-(%d+)$')
  if a1 ~= b1 then return less(a1, b1) end
  return less(a2, b2)
end

local deltas, events, rejects = KEYS[1], KEYS[2], KEYS[3]
local previous, src, rejects_max = ARGV[1], ARGV[2], ARGV[3]
local entries_count, rejects_count = tonumber(ARGV[4]), tonumber(ARGV[5])
local found = last(deltas)
if found ~= previous then return {0, 'deltas', found} end
if src ~= '0-0' then
  local input = last(events)
  if before(input, src) then return {0, 'events', input} end
end

local at = 6
for _ = 1, entries_count do
  local arguments = tonumber(ARGV[at + 1])
  redis.call('XADD', deltas, ARGV[at], unpack(ARGV, at + 2, at + 1 + arguments))
  at = at + 2 + arguments
end
for _ = 1, rejects_count do
  local arguments = tonumber(ARGV[at])
  redis.call('XADD', rejects, 'MAXLEN', '~', rejects_max, '*', unpack(ARGV, at + 1, at + arguments))
  at = at + 1 + arguments
end
for key = 4, #KEYS do
  if ARGV[at] == '' then
    redis.call('SET', KEYS[key], ARGV[at + 1])
  else
    redis.call('XADD', KEYS[key], 'MAXLEN', 2, ARGV[at], 's', ARGV[at + 1])
  end
  at = at + 2
end
return {1}
"""
)
"""Compare-and-append. KEYS: deltas, events, rejects, then one for each attachment.

ARGV: previous position, src, cap of rejects, number of entries, number of rejects; then for each entry its ID, its
number of arguments and these; for each reject its number of arguments and these; for each attachment its stream ID
(empty: a plain string) and value. Replies {1}, or {0, which stream refused, its last ID}.
"""

FENCED: Final = (
    _LAST
    + """
local found = last(KEYS[1])
if string.match(found, '^(%d+)-') ~= ARGV[1] then return {0, 'deltas', found} end
"""
)

KEEP: Final = (
    FENCED
    + """
local at = 2
for key = 2, #KEYS do
  if ARGV[at] == '' then
    redis.call('SET', KEYS[key], ARGV[at + 1])
  else
    -- A copy of this command that arrives late finds its ID taken, and has nothing left to do.
    if last(KEYS[key]) ~= ARGV[at] then
      redis.call('XADD', KEYS[key], 'MAXLEN', 2, ARGV[at], 's', ARGV[at + 1])
    end
  end
  at = at + 2
end
return {1}
"""
)
"""Snapshots and checkpoints, only while the stream's last entry is of our epoch.

KEYS: deltas, then one for each attachment. ARGV: epoch; then for each attachment its stream ID (empty: a plain
string) and value.
"""

TRIM: Final = (
    FENCED
    + """
if ARGV[2] ~= '' then redis.call('XTRIM', KEYS[1], 'MINID', '~', ARGV[2]) end
if ARGV[3] ~= '' then redis.call('XTRIM', KEYS[2], 'MINID', '~', ARGV[3]) end
return {1}
"""
)
"""Trim deltas and events to these first IDs (empty: leave alone), fenced likewise. KEYS: deltas, events."""
