// What the ticket page and the scanner need without a network: their files, and the data that they showed last. Both are
// stored in secure contexts only; elsewhere the functions do nothing.

const FILES = "files";
const DATA = "data";
const PAGE_FILE = /^\/(src|vendor)\/|^\/(style\.css|icon\.svg)$/;

/**
 * Stores the files that the page on screen has loaded, so that it opens without a network.
 * @param {string} scope the prefix of the pages' paths
 */
export async function keepPage(scope) {
  if (!navigator.serviceWorker || !globalThis.caches) return;
  const loaded = performance.getEntriesByType("resource").map(({ name }) => new URL(name));
  const paths = loaded.filter(({ origin, pathname }) => origin === location.origin && PAGE_FILE.test(pathname));
  try {
    await navigator.serviceWorker.register("/service-worker.js", { scope });
    const files = await caches.open(FILES);
    // All or none, so that no page mixes files of two versions.
    await files.addAll([...new Set([location.pathname, ...paths.map(({ pathname }) => pathname)])]);
  } catch {
    // Without a network, or where storage is off, the page stays what it is.
  }
}

/** @param {string} name */
const urlOf = (name) => `/kept/${encodeURIComponent(name)}`;

/**
 * Stores data of a page until the session ends.
 * @param {string} name
 * @param {unknown} data
 */
export async function keep(name, data) {
  const store = await globalThis.caches?.open(DATA);
  await store?.put(urlOf(name), Response.json(data));
}

/** What was stored, if anything. @param {string} name @returns {Promise<any>} */
export async function kept(name) {
  const response = await (await globalThis.caches?.open(DATA))?.match(urlOf(name));
  return response?.json();
}

/** @param {string} name */
export async function forget(name) {
  await (await globalThis.caches?.open(DATA))?.delete(urlOf(name));
}

/** Deletes the data of all pages. */
export async function forgetAll() {
  await globalThis.caches?.delete(DATA);
}
