/** The gateway's symbols, and the search in them. The search is pure. */

/** Options that are shown at a time. */
export const SHOWN_MAX = 50;

/**
 * The symbols that match a text, best first: those that begin with it, then those that have it inside. Case does not
 * matter. `rows` are those of `/v1/symbols`, in the order of symbols, which is kept otherwise.
 */
export function matching(rows, text) {
  const wanted = text.trim().toUpperCase();
  const begins = [];
  const contains = [];
  for (const row of rows) {
    const place = row.symbol.toUpperCase().indexOf(wanted);
    if (place === 0) begins.push(row);
    else if (place > 0) contains.push(row);
  }
  return [...begins, ...contains];
}

/** The symbol `steps` after one in the list, round its ends; the first if it is not there. */
export function neighbour(rows, symbol, steps) {
  const place = rows.findIndex((row) => row.symbol === symbol);
  if (!rows.length) return symbol;
  return place < 0 ? rows[0].symbol : rows[(place + steps + rows.length) % rows.length].symbol;
}

/**
 * Fetch the rows of `/v1/symbols` with a token, if there is one; null if the gateway does not answer. `refused` is called
 * if it wants another token.
 */
export async function fetchSymbols(token = null, refused = () => {}) {
  try {
    const headers = token === null ? {} : { Authorization: `Bearer ${token}` };
    const response = await fetch("v1/symbols", { headers });
    if (response.status === 401) refused((await response.json()).error.message);
    return response.ok ? await response.json() : null;
  } catch {
    return null;
  }
}
