// Create and edit an event, with a preview of its card; publish, cancel or delete it.
import { get, post, request } from "../api.js";
import { h, icon, replace, toast } from "../dom.js";
import { field, form, place } from "../forms.js";
import { currencyDigits, money, ownZone, t, tn } from "../i18n.js";
import { carryOut } from "../intent.js";
import { navigate } from "../router.js";
import { currentUser } from "../session.js";
import { alertBox, categoryName, confirmDialog, eventCard, setTitle, skeletons, whileBusy } from "../views.js";
import { instantOf, wallClock } from "../zones.js";
import { soldSeats } from "./organizer.js";

const CURRENCIES = ["EUR", "USD", "GBP", "CHF", "SEK", "DKK", "PLN", "JPY"];
const CATEGORIES = ["music", "theatre", "art", "film", "talk", "tech", "food", "sport", "family"];

/** @type {PageModule["render"]} */
export async function render(root, { id, signal }) {
  if (id) replace(root, skeletons("event-page-skeleton", 1));
  /** @type {Api.EventItem | null} */
  const event = id ? await get(`/api/events/${id}`, { signal }) : null;
  const title = event ? event.title : t("editor.new");
  setTitle(title);
  replace(
    root,
    h(
      "header.page-head",
      h("div", h("p", h("a.back", { href: "/organizer" }, "← ", t("organizer.title"))), h("h1", title)),
      event && h("a.button.plain", { href: `/events/${event.id}` }, t("editor.view")),
    ),
    event && figures(event),
    event?.status === "cancelled" ? h("p.alert", t("editor.is_cancelled")) : editor(event),
    event && event.status !== "cancelled" && dangers(event),
  );
}

/** @param {Api.EventItem} event */
function figures(event) {
  const sold = soldSeats(event);
  const held = event.held ?? event.capacity - event.available - sold;
  /** @param {string} name @param {string | number} value */
  const figure = (name, value) => h("div.card.figure", h("dt", name), h("dd", value));
  return h(
    "dl.figures",
    figure(t("organizer.sold"), sold),
    figure(t("editor.held"), held),
    figure(t("editor.available"), event.available),
    figure(t("organizer.revenue"), event.price ? money(event.price * sold, event.currency) : "–"),
  );
}

/** @param {Api.EventItem | null} event */
function editor(event) {
  const zone = event?.time_zone ?? ownZone;
  const start = event?.starts_at ?? nextEvening();
  const end = event?.ends_at ?? new Date(Date.parse(start) + 3 * 3600_000).toISOString();
  const zones = Intl.supportedValuesOf("timeZone");
  const allZones = zones.includes(zone) ? zones : [zone, ...zones];
  const currency = event?.currency ?? "EUR";
  /** @param {string | null | undefined} instant */
  const local = (instant) => (instant ? wallClock(instant, zone) : "");

  /** @type {() => string} */
  const startText = () => fields.starts_at.control.value;
  /** @type {() => string} */
  const currencyCode = () => fields.currency.control.value;
  const fields = {
    title: field({
      name: "title",
      label: t("editor.title"),
      attributes: { required: true, maxlength: 200, value: event?.title ?? "" },
    }),
    description: field({
      name: "description",
      label: t("editor.description"),
      hint: t("editor.description_hint"),
      tag: "textarea",
      attributes: { required: true, rows: 7, maxlength: 10_000, value: event?.description ?? "" },
    }),
    category: field({
      name: "category",
      label: t("editor.category"),
      tag: "select",
      options: categoryOptions(event?.category),
      attributes: { value: event?.category ?? "" },
    }),
    venue: field({
      name: "venue",
      label: t("editor.venue"),
      attributes: { required: true, maxlength: 200, value: event?.venue ?? "" },
    }),
    time_zone: field({
      name: "time_zone",
      label: t("editor.zone"),
      tag: "select",
      options: allZones.map((name) => [name, name.replaceAll("_", " ")]),
      attributes: { required: true, value: zone },
    }),
    starts_at: field({
      name: "starts_at",
      label: t("editor.starts"),
      attributes: { type: "datetime-local", required: true, value: local(start) },
    }),
    ends_at: field({
      name: "ends_at",
      label: t("editor.ends"),
      attributes: { type: "datetime-local", required: true, value: local(end) },
      rule: (value) => (value > startText() ? undefined : t("editor.ends_first")),
    }),
    capacity: field({
      name: "capacity",
      label: t("editor.capacity"),
      attributes: {
        type: "number",
        required: true,
        min: Math.max(1, event ? event.capacity - event.available : 1),
        max: 1_000_000,
        value: event?.capacity ?? 100,
      },
    }),
    max_seats_per_booking: field({
      name: "max_seats_per_booking",
      label: t("editor.max_seats"),
      attributes: { type: "number", min: 1, max: 100, value: event?.max_seats_per_booking ?? "" },
    }),
    price: field({
      name: "price",
      label: t("editor.price"),
      hint: t("editor.price_hint"),
      attributes: { inputmode: "decimal", required: true, value: event ? toMajor(event.price, currency) : "0" },
      rule: (value) => (minor(value, currencyCode()) === null ? t("editor.price_wrong") : undefined),
    }),
    currency: field({
      name: "currency",
      label: t("editor.currency"),
      tag: "select",
      options: [...new Set([...CURRENCIES, currency])].map((code) => [code, code]),
      attributes: { required: true, value: currency },
    }),
    sales_start_at: field({
      name: "sales_start_at",
      label: t("editor.sales_start"),
      attributes: { type: "datetime-local", value: local(event?.sales_start_at) },
    }),
    sales_end_at: field({
      name: "sales_end_at",
      label: t("editor.sales_end"),
      attributes: { type: "datetime-local", value: local(event?.sales_end_at) },
    }),
    image_url: field({
      name: "image_url",
      label: t("editor.image"),
      hint: t("editor.image_hint"),
      attributes: { type: "url", maxlength: 2000, placeholder: "https://", value: event?.image_url ?? "" },
      rule: (value) => (value.startsWith("https://") ? undefined : t("editor.image_https")),
    }),
  };
  /** @param {keyof typeof fields} name */
  const value = (name) => fields[name].control.value.trim();
  /** @param {keyof typeof fields} name */
  const instant = (name) => (value(name) ? instantOf(value(name), value("time_zone")) : null);
  const read = () => ({
    title: value("title"),
    description: value("description"),
    venue: value("venue"),
    time_zone: value("time_zone"),
    starts_at: /** @type {string} */ (instant("starts_at")),
    ends_at: /** @type {string} */ (instant("ends_at")),
    capacity: Number(value("capacity")),
    price: minor(value("price"), value("currency")) ?? 0,
    currency: value("currency"),
    category: value("category") || null,
    image_url: value("image_url") || null,
    sales_start_at: instant("sales_start_at"),
    sales_end_at: instant("sales_end_at"),
    max_seats_per_booking: Number(value("max_seats_per_booking")) || null,
  });

  const list = Object.values(fields);
  const asDraft = h(
    "button.button.plain.wide",
    { type: "button" },
    t(event?.status === "draft" ? "editor.save_draft" : "editor.create_draft"),
  );
  const publishes = !event || event.status === "draft";
  const { element, say } = form(list, {
    selector: "form.form.editor",
    content: [
      group(t("editor.what"), fields.title, fields.description, row(fields.category, fields.image_url)),
      group(t("editor.when"), row(fields.starts_at, fields.ends_at), fields.time_zone, fields.venue),
      group(t("editor.seats"), row(fields.capacity, fields.max_seats_per_booking), row(fields.price, fields.currency)),
      group(t("editor.sales"), row(fields.sales_start_at, fields.sales_end_at)),
    ],
    submit: publishes ? t("editor.publish") : t("editor.save"),
    work: () => save(event, { ...read(), ...(publishes ? { status: "published" } : {}) }),
  });
  asDraft.addEventListener("click", async () => {
    const wrong = list.filter((candidate) => !candidate.check());
    if (wrong.length) return wrong[0].control.focus();
    await whileBusy(asDraft, () => save(event, { ...read(), status: "draft" })).catch((error) =>
      say(place(error, list)),
    );
  });
  if (publishes) element.append(asDraft);

  const preview = h("div", { inert: true });
  const drawPreview = () => {
    const shown = read();
    if (!shown.starts_at || !shown.ends_at) return;
    const sample = {
      ...shown,
      id: event?.id ?? shown.title,
      title: shown.title || t("editor.title"),
      venue: shown.venue || t("editor.venue"),
      available: shown.capacity,
      organizer_id: 0,
      status: /** @type {const} */ ("published"),
    };
    replace(preview, eventCard(sample));
  };
  element.addEventListener("input", drawPreview);
  element.addEventListener("change", drawPreview);
  drawPreview();
  return h(
    "div.editor-page",
    element,
    h("aside.preview", { "aria-hidden": "true" }, h("p.eyebrow", t("editor.preview")), preview),
  );
}

/** @typedef {import("../forms.js").Field} Field */

/** @param {string} name @param {...(Field | HTMLElement)} fields */
const group = (name, ...fields) =>
  h(
    "fieldset.group",
    h("legend", name),
    fields.map((one) => (one instanceof HTMLElement ? one : one.root)),
  );

/** @param {...Field} fields */
const row = (...fields) =>
  h(
    "div.field-row",
    fields.map(({ root }) => root),
  );

/** @param {string | null | undefined} current @returns {[string, string][]} */
function categoryOptions(current) {
  const known = current && !CATEGORIES.includes(current) ? [...CATEGORIES, current] : CATEGORIES;
  return [
    ["", t("editor.no_category")],
    ...known.map((name) => /** @type {[string, string]} */ ([name, categoryName(name)])),
  ];
}

/**
 * A PATCH carries what changed alone; a new event has an Idempotency-Key.
 * @param {Api.EventItem | null} event
 * @param {Record<string, unknown>} wanted
 */
async function save(event, wanted) {
  if (!event) {
    const set = Object.fromEntries(Object.entries(wanted).filter(([, value]) => value !== null));
    const created = await carryOut("create-event", currentUser()?.id ?? 0, "/api/events", set);
    toast(t(created.status === "draft" ? "editor.drafted" : "editor.published"));
    return navigate(`/organizer/events/${created.id}`, { replace: true });
  }
  const old = /** @type {Record<string, unknown>} */ (/** @type {unknown} */ (event));
  const changed = Object.entries(wanted).filter(([name, value]) => !same(value, old[name] ?? null));
  if (changed.length) await request("PATCH", `/api/events/${event.id}`, { body: Object.fromEntries(changed) });
  toast(t(wanted.status === "published" ? "editor.published" : "editor.saved"));
  await navigate(`/organizer/events/${event.id}`, { replace: true });
}

/** @param {unknown} a @param {unknown} b */
function same(a, b) {
  if (typeof a === "string" && typeof b === "string" && /^\d{4}-.*Z$/.test(a)) return Date.parse(a) === Date.parse(b);
  return a === b;
}

/** @param {Api.EventItem} event */
function dangers(event) {
  const { box, say } = alertBox();
  const taken = event.capacity - event.available;
  const draft = event.status === "draft";
  const button = h(
    "button.button.danger",
    { type: "button" },
    icon("close"),
    t(draft ? "editor.delete" : "editor.cancel"),
  );
  button.addEventListener("click", async () => {
    const text = draft
      ? t("editor.delete_text")
      : taken
        ? tn("editor.cancel_text", taken)
        : t("editor.cancel_text_none");
    if (
      !(await confirmDialog({
        title: event.title,
        text,
        yes: t(draft ? "editor.delete" : "editor.cancel"),
        danger: true,
      }))
    )
      return;
    await whileBusy(button, async () => {
      if (draft) await request("DELETE", `/api/events/${event.id}`);
      else await request("PATCH", `/api/events/${event.id}`, { body: { status: "cancelled" } });
      toast(t(draft ? "editor.deleted" : "editor.cancelled"));
      await navigate("/organizer", { replace: true });
    }).catch((error) => say(place(error, [])));
  });
  return h("section.dangers", h("p.hint", t(draft ? "editor.delete_hint" : "editor.cancel_hint")), button, box);
}

/** Eight in the evening, in two weeks. */
function nextEvening() {
  const day = new Date(Date.now() + 14 * 86_400_000);
  day.setHours(20, 0, 0, 0);
  return day.toISOString();
}

/**
 * Minor units of an amount as people write it, without a detour over binary fractions; null if it is none.
 * @param {string} text
 * @param {string} currency
 */
export function minor(text, currency) {
  const digits = currencyDigits(currency);
  const match = /^(\d{1,7})(?:[.,](\d*))?$/.exec(text.trim());
  if (!match || (match[2] ?? "").length > digits) return null;
  return Number(match[1] + (match[2] ?? "").padEnd(digits, "0"));
}

/** @param {number} amount minor units @param {string} currency */
function toMajor(amount, currency) {
  const digits = currencyDigits(currency);
  const padded = String(amount).padStart(digits + 1, "0");
  return digits ? `${padded.slice(0, -digits)}.${padded.slice(-digits)}` : padded;
}
