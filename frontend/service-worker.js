// Serves the ticket page and the scanner when there is no network, from the files that `src/offline.js` stored. It controls
// these pages alone, and never stores or answers requests to services.

/** A stored page replaces the server's after this time: with a weak signal there is often no answer at all. */
const WAIT_MS = 4000;
const FILE = /^\/(src|vendor)\/|^\/[\w-]+\.\w+$/;
/** The pages that came from the store. So do their files, so that a page never mixes two versions. */
const storedPages = new Set();

addEventListener("fetch", (/** @type {any} */ event) => {
  const { request } = event;
  const { origin, pathname } = new URL(request.url);
  if (request.method !== "GET" || origin !== location.origin) return;
  if (request.mode === "navigate") event.respondWith(page(request, event.resultingClientId));
  else if (FILE.test(pathname)) event.respondWith(file(request, event.clientId));
});

/** @param {Request} request @param {string} client @returns {Promise<Response>} */
async function page(request, client) {
  const stored = await find(request);
  if (!stored) return fetch(request);
  const late = new Promise((resolve) => setTimeout(resolve, WAIT_MS));
  const response = await Promise.race([fetch(request).catch(() => undefined), late]);
  if (response && response.status < 500) return response;
  storedPages.add(client);
  return stored;
}

/** @param {Request} request @param {string} client @returns {Promise<Response>} */
async function file(request, client) {
  if (storedPages.has(client)) return (await find(request)) ?? fetch(request);
  return fetch(request).catch(async (error) => (await find(request)) ?? Promise.reject(error));
}

/** @param {Request} request */
const find = (request) => caches.match(request, { ignoreSearch: true, ignoreVary: true });
