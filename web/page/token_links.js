/** So long a browser may take to show what was fetched. */
const SHOWN_MS = 60_000;

/**
 * Let links to what a gateway serves work with a `Token`: a browser that follows a link sends none, so while there is
 * one, the page fetches what the link names and shows it in another tab.
 */
export function sendToken(links, token) {
  for (const link of links) {
    link.addEventListener("click", (event) => {
      if (token.current === null) return;
      event.preventDefault();
      // Before anything is awaited: later, a browser takes it for a pop-up.
      show(open("", "_blank") ?? window, link.href, token.current);
    });
  }
}

async function show(tab, address, token) {
  const url = URL.createObjectURL(await fetched(address, token));
  tab.location.replace(url);
  setTimeout(() => URL.revokeObjectURL(url), SHOWN_MS);
}

async function fetched(address, token) {
  try {
    const response = await fetch(address, { headers: { Authorization: `Bearer ${token}` } });
    return await response.blob();
  } catch {
    return new Blob(["The gateway does not answer."], { type: "text/plain" });
  }
}
