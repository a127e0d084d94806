"""The Lua scripts: Redis fences every write of a leader, in the same step as the write itself.

In a pipeline or MULTI, a refused XADD would not stop the commands after it. A script compares first and
writes nothing if the comparison fails (`docs/protocol.md`, section 2.2).
"""

from typing import Final

_COMMON: Final = """
-- The last ID ever generated in a stream, and how many entries were ever added.
local function last(key)
  if redis.call('EXISTS', key) == 0 then return '0-0', 0 end
  local info, found = redis.call('XINFO', 'STREAM', key), {}
  for i = 1, #info, 2 do found[info[i]] = info[i + 1] end
  return found['last-generated-id'], found['entries-added']
end

-- Decimal text of up to 20 digits: longer is larger, equal lengths compare as text; doubles lose digits.
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

-- The position of a checkpoint: nothing before it has digits.
local function position_in(checkpoint)
  return string.match(string.sub(checkpoint, 1, 64), '%d+%-%d+')
end
-- Write a snapshot under its ID, or a checkpoint, unless a newer one is there: commands may arrive late.
local function attach(key, id, value)
  if id ~= '' then
    if before(last(key), id) then redis.call('XADD', key, 'MAXLEN', 2, id, 's', value) end
    return
  end
  local held = position_in(redis.call('GETRANGE', key, 0, 63))
  if not held or not before(position_in(value), held) then redis.call('SET', key, value) end
end
"""

PUBLISH: Final = (
    _COMMON
    + """
local deltas, events, rejects = KEYS[1], KEYS[2], KEYS[3]
local previous, src, rejects_max = ARGV[1], ARGV[2], ARGV[3]
local entries_count, batches_count = tonumber(ARGV[4]), tonumber(ARGV[5])
local found = last(deltas)
if found ~= previous then return {0, 'deltas', found} end
local input, added = last(events)
if before(input, src) then return {0, 'events', input} end
local time = redis.call('TIME')
local written = time[1] .. string.format('%06d', time[2])

-- Whatever could fail comes before the first write: an error would not undo those before it.
local refused = {}
for batch = #ARGV - 2 * (#KEYS - 3) - batches_count + 1, #ARGV - 2 * (#KEYS - 3) do
  for _, fields in ipairs(cmsgpack.unpack(ARGV[batch])) do refused[#refused + 1] = fields end
end

local at, entries = 6, {}
for _ = 1, entries_count do
  entries[#entries + 1] = {ARGV[at], cmsgpack.unpack(ARGV[at + 1])}
  at = at + 2
end
for _, entry in ipairs(entries) do
  local fields = entry[2]
  fields[#fields + 1] = '_w'
  fields[#fields + 1] = written
  redis.call('XADD', deltas, entry[1], unpack(fields))
end
-- If these alone fill the cap, all older rejects go, and with them those that were not even sent.
if #refused >= tonumber(rejects_max) then redis.call('XTRIM', rejects, 'MAXLEN', 0) end
for _, fields in ipairs(refused) do
  redis.call('XADD', rejects, 'MAXLEN', '~', rejects_max, '*', unpack(fields))
end
at = at + batches_count
for key = 4, #KEYS do
  attach(KEYS[key], ARGV[at], ARGV[at + 1])
  at = at + 2
end
return {1, written, input, added}
"""
)
"""Compare-and-append. KEYS: deltas, events, rejects, then one for each attachment.

ARGV: previous position, src, cap of rejects, number of entries, number of batches of rejects; then for each
entry its ID and a msgpack array of field names and values; for each batch a msgpack array of rejects, each
such an array; for each attachment its stream ID (empty: a checkpoint) and value. Replies {1, the server's
time, the last ID of `events`, how many entries were ever added to it}, or {0, which stream refused, its last
ID}. Each entry gets a field `_w`: the server's time, µs since 1970 as text.

Thousands of fields as arguments would cost both ends several times as much as one packed argument, and
rejects sent one by one could exceed the limit of arguments.
"""

_FENCED: Final = (
    _COMMON
    + """
local found, ours = last(KEYS[1]), ARGV[1]
if string.match(found, '^%d+') ~= string.match(ours, '^%d+') or before(found, ours) then
  return {0, 'deltas', found}
end
"""
)

STORE: Final = (
    _FENCED
    + """
local at = 2
for key = 2, #KEYS do
  attach(KEYS[key], ARGV[at], ARGV[at + 1])
  at = at + 2
end
return {1}
"""
)
"""Write snapshots and checkpoints if the last entry is of our epoch and not before our last position.

A stream that lost its tail must not get recovery state from beyond its end, and must not be trimmed.

KEYS: deltas, then one for each attachment. ARGV: our last position; then for each attachment its stream ID
(empty: a checkpoint) and value.
"""

TRIM: Final = (
    _FENCED
    + """
if ARGV[2] ~= '' then redis.call('XTRIM', KEYS[1], 'MINID', '~', ARGV[2]) end
redis.call('XTRIM', KEYS[2], 'MINID', '~', ARGV[3])
return {1}
"""
)
"""Trim deltas (empty: not at all) and events to begin at these IDs, behind the same fence.

KEYS: deltas, events. ARGV: our last position and both IDs.
"""
