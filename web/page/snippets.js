/** What the page shows, as whole programs to copy. Pure. */

/**
 * The program in "python", "js" or "curl". `base` is the address of the gateway, without a slash at its end; `options`
 * are `{ depth, group }`.
 */
export function snippet(language, base, symbol, options) {
  return PROGRAMS[language](base, symbol, options);
}

/** The query that asks a gateway for a book over HTTP. */
export function queryOf({ depth, group }) {
  return `depth=${depth}${group > 1 ? `&group=${group}` : ""}`;
}

const PROGRAMS = {
  python: (base, symbol, { depth, group }) => `import asyncio

from depthcast import connect


async def main() -> None:
    async with connect("${base}") as client:
        await client.subscribe(["${symbol}"], depth=${depth}${group > 1 ? `, group=${group}` : ""})
        async for update in client:
            print(update.symbol, update.seq, update.book.bids.top(5), update.book.asks.top(5))


asyncio.run(main())
`,
  js: (base, symbol, { depth, group }) => `import { Client } from "depthcast";

const client = new Client("${base}");
client.subscribe("${symbol}", { depth: ${depth}${group > 1 ? `, group: ${group}` : ""} });

for await (const view of client) console.log(view.symbol, view.state, view.top(5).bids, view.top(5).asks);
`,
  curl: (base, symbol, options) => `# the book now
curl '${base}/v1/books/${symbol}?${queryOf(options)}'

# the book, and then each change
curl -N '${base}/v1/stream?symbols=${symbol}&${queryOf(options)}'
`,
};

/** The address of the gateway that served a page: that of the page without file, query and fragment. */
export function baseOf(address) {
  const url = new URL(".", address);
  return url.origin + url.pathname.replace(/\/$/, "");
}
