// The list of events: search as you type, and filters, which are in the URL.
import { get } from "../api.js";
import { categories } from "../categories.js";
import { cover } from "../cover.js";
import { announce, h, icon, replace } from "../dom.js";
import { t, tn } from "../i18n.js";
import { replaceUrl } from "../router.js";
import {
  categoryName,
  emptyView,
  eventCard,
  loadError,
  moreButton,
  searchText,
  setTitle,
  skeletons,
} from "../views.js";

const TIME_RANGES = /** @type {const} */ (["any", "today", "week", "weekend", "month"]);
const PAGE_SIZE = 24;
const CACHE_MS = 60_000;

/** The last list, so that the back button restores it. */
let cached = {
  search: "",
  items: /** @type {Api.EventItem[]} */ ([]),
  next: /** @type {string | null} */ (null),
  at: 0,
};

/** @type {PageModule["render"]} */
export async function render(root, { query, signal, restored }) {
  setTitle(t("events.title"));
  const search = h("input", {
    id: "q",
    type: "search",
    name: "q",
    placeholder: t("events.search_hint"),
    autocomplete: "off",
    enterkeyhint: "search",
    value: query.get("q") ?? "",
  });
  const range = h(
    "select",
    { id: "when", name: "when" },
    TIME_RANGES.map((name) => h("option", { value: name }, t(`when.${name}`))),
  );
  // An unknown range is any time, which the control shows.
  range.value = TIME_RANGES.find((name) => name === query.get("when")) ?? "any";
  const seats = h("input", { id: "seats", type: "checkbox", name: "seats", checked: query.get("seats") === "1" });
  const category = categoryChoices(query.get("category") ?? "");
  const results = h("section.results", { "aria-label": t("events.results") });
  const filters = h(
    "form.search",
    { role: "search" },
    h("div.search-box", icon("search"), h("label.unseen", { for: "q" }, t("events.search")), search),
    h(
      "div.filters",
      category,
      h("span.select-box", h("label.unseen", { for: "when" }, t("events.when")), range),
      h("label.check", seats, t("events.has_seats")),
    ),
  );
  root.append(h("header.hero", posters(), h("h1", t("events.headline")), h("p", t("events.lead")), filters), results);

  let latest = new AbortController();
  const update = async (useCache = false) => {
    if (signal.aborted) return;
    latest.abort();
    latest = new AbortController();
    const filterValues = readFilters(filters);
    const text = filterValues.toString();
    replaceUrl(text ? `/?${text}` : "/");
    await list(results, filterValues, AbortSignal.any([signal, latest.signal]), useCache);
  };
  let timer = 0;
  search.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(() => void update(), 180);
  });
  filters.addEventListener("change", (event) => event.target !== search && void update());
  filters.addEventListener("submit", (event) => {
    event.preventDefault();
    clearTimeout(timer);
    void update();
  });
  await update(restored);
}

/** Decoration. */
const posters = () =>
  h(
    "div.hero-art",
    { "aria-hidden": "true" },
    ["theatre", "music", "film"].map((kind) => h("div", cover({ title: kind, category: kind }))),
  );

/** @param {string} chosen */
function categoryChoices(chosen) {
  const choices = ["", ...categories(chosen)].map((value) =>
    h(
      "label.chip",
      h("input", { type: "radio", name: "category", value, checked: value === chosen }),
      h("span", value ? categoryName(value) : t("category.all")),
    ),
  );
  return h("fieldset.chips", h("legend.unseen", t("events.category")), choices);
}

/** The filters as in the URL. @param {HTMLFormElement} form */
function readFilters(form) {
  const data = new FormData(form);
  const filters = new URLSearchParams();
  const q = searchText(data.get("q"));
  if (q) filters.set("q", q);
  if (data.get("category")) filters.set("category", String(data.get("category")));
  if (data.get("when") !== "any") filters.set("when", String(data.get("when")));
  if (data.get("seats")) filters.set("seats", "1");
  return filters;
}

/**
 * @param {HTMLElement} results
 * @param {URLSearchParams} filters
 * @param {AbortSignal} signal
 * @param {boolean} [useCache] whether the cached list may be shown
 */
async function list(results, filters, signal, useCache = false) {
  const search = filters.toString();
  const grid = h("div.grid");
  /** @param {Api.Page<Api.EventItem>} page */
  const show = (page) => {
    grid.append(...page.items.map((event) => eventCard(event)));
    replace(results, grid, page.next_cursor && moreButton(t("events.more"), () => more(page.next_cursor)));
  };
  /** @param {string | null} cursor */
  const more = async (cursor) => {
    const page = await get("/api/events", { query: { ...toQuery(filters), cursor }, signal });
    cached = { search, items: [...cached.items, ...page.items], next: page.next_cursor, at: Date.now() };
    const first = grid.children.length;
    show(page);
    grid.children[first]?.querySelector("a")?.focus();
    announce(tn("events.loaded", page.items.length));
  };
  if (useCache && cached.search === search && Date.now() - cached.at < CACHE_MS)
    return show({ items: cached.items, next_cursor: cached.next });

  results.setAttribute("aria-busy", "true");
  if (!results.querySelector(".event-card")) replace(results, h("div.grid", skeletons("event-skeleton", 6)));
  try {
    const page = await get("/api/events", { query: toQuery(filters), signal });
    cached = { search, items: page.items, next: page.next_cursor, at: Date.now() };
    if (page.items.length) show(page);
    else replace(results, nothingFound(search));
    announce(page.next_cursor ? t("events.many") : tn("events.found", page.items.length));
  } catch (error) {
    if (signal.aborted) return;
    replace(
      results,
      loadError(error, () => list(results, filters, signal)),
    );
  } finally {
    results.removeAttribute("aria-busy");
  }
}

/** @param {string} search */
function nothingFound(search) {
  const reset = h("a.button.plain", { href: "/" }, t("events.reset"));
  return search
    ? emptyView(t("events.none"), t("events.none_text"), reset)
    : emptyView(t("events.empty"), t("events.empty_text"));
}

/** The query for event-service. @param {URLSearchParams} filters */
function toQuery(filters) {
  const [from, to] = timeRange(filters.get("when") ?? "any");
  return {
    q: filters.get("q"),
    category: filters.get("category"),
    has_seats: filters.get("seats") ? true : null,
    from: from?.toISOString(),
    to: to?.toISOString(),
    limit: PAGE_SIZE,
  };
}

/**
 * The start and end of a named range, in days of the visitor's time zone. The list has the events that take place in it;
 * without a range, those that have not ended.
 * @param {string} name
 * @returns {[Date | null, Date | null]}
 */
function timeRange(name) {
  const now = new Date();
  // Requests of the same minute have the same URL, so that caches can answer them.
  now.setSeconds(0, 0);
  /** @param {number} days from today */
  const midnight = (days) => new Date(now.getFullYear(), now.getMonth(), now.getDate() + days);
  const untilSaturday = (6 - now.getDay()) % 7;
  const onSunday = now.getDay() === 0;
  switch (name) {
    case "today":
      return [now, midnight(1)];
    case "week":
      return [now, midnight(7)];
    case "weekend":
      return onSunday
        ? [now, midnight(1)]
        : [untilSaturday ? midnight(untilSaturday) : now, midnight(untilSaturday + 2)];
    case "month":
      return [now, midnight(31)];
    default:
      return [null, null];
  }
}
