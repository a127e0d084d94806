import { checkCount } from "./options.js";

const UNGROUPED = 1; // tick

/** The options of a subscription, complete and frozen; throws a TypeError if one is of another type. */
export function subscriptionOf({ depth = 25, intervalMs = 0, group = UNGROUPED } = {}) {
  checkCount("depth", depth);
  checkCount("intervalMs", intervalMs);
  checkCount("group", group, 1);
  return Object.freeze({ depth, intervalMs, group });
}

/** The fields that say them in a subscribe message. */
export function fieldsOf({ depth, intervalMs, group }) {
  return { depth, interval_ms: intervalMs, ...(group !== UNGROUPED && { group }) };
}

/** A text that is equal for equal options. */
export function keyOf(options) {
  return Object.values(options).join(" ");
}

/** Whether a `subscribed` message begins a book with the levels that were asked for. */
export function fits({ depth, group }, options) {
  return depth === options.depth && groups(group, options);
}

/** Whether a gateway groups levels as it was asked to; one that does not know how says no group. */
export function groups(group = UNGROUPED, options) {
  return group === options.group;
}
