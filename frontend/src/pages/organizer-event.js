// Create and edit an event, with a preview of its card; publish, cancel or delete it.
import { ApiError, get, request } from "../api.js";
import { h, icon, replace } from "../dom.js";
import { eventFields, typedTexts } from "../event-form.js";
import { changesOf } from "../event-values.js";
import { form, place } from "../forms.js";
import { keepFresh } from "../fresh.js";
import { t, tn } from "../i18n.js";
import { carryOut } from "../intent.js";
import { holdPage, navigate } from "../router.js";
import { currentUser } from "../session.js";
import { zoneNames } from "../time-zones.js";
import { toast } from "../toast.js";
import { alertBox, confirmDialog, eventCard, loadPart, setTitle, skeletons, whileBusy } from "../views.js";
import { eventFigures } from "./organizer.js";

/** @type {PageModule["render"]} */
export async function render(root, { id, signal }) {
  if (id) replace(root, skeletons("event-page-skeleton", 1));
  /** @type {Api.EventItem | null} */
  const event = id ? await get(`/api/events/${id}`, { signal }) : null;
  const user = currentUser();
  if (event && event.organizer_id !== user?.id && user?.role !== "admin") {
    throw new ApiError({ status: 404, code: "event_not_found" });
  }
  const zones = await zoneNames(signal);
  // A draft has sold nothing, and is not known outside of event-service.
  const sells = event && event.status !== "draft";
  const title = event ? event.title : t("editor.new");
  setTitle(title);
  replace(
    root,
    h(
      "header.page-head",
      h("div", h("p", h("a.back", { href: "/organizer" }, "← ", t("organizer.title"))), h("h1", title)),
      event &&
        h(
          "div.actions",
          sells && h("a.button.plain", { href: `/organizer/events/${id}/bookings` }, icon("user"), t("attendees.page")),
          h("a.button.plain", { href: `/events/${id}` }, t("editor.view")),
        ),
    ),
    sells && figures(event, signal),
    event?.status === "cancelled" ? h("p.alert", t("editor.is_cancelled")) : editor(event, zones, signal),
    event && event.status !== "cancelled" && dangers(event),
  );
}

/**
 * The sold and held seats, kept up to date. They also need booking-service, whose failure must not break the editor.
 * @param {Api.EventItem} event
 * @param {AbortSignal} signal
 */
function figures(event, signal) {
  const place = h("div", h("div.figures", skeletons("figure-skeleton", 4)));
  /** @returns {Promise<[Api.EventItem, Api.Sales]>} */
  const ask = () =>
    Promise.all([get(`/api/events/${event.id}`, { signal }), get(`/bookings/events/${event.id}/sales`, { signal })]);
  /** @param {[Api.EventItem, Api.Sales]} found */
  const draw = ([now, { totals }]) => [eventFigures(now, totals)];
  void loadPart(place, signal, ask, draw);
  keepFresh(async () => {
    const found = await ask();
    if (!signal.aborted) replace(place, draw(found));
  }, signal);
  return place;
}

/**
 * @param {Api.EventItem | null} event
 * @param {import("../time-zones.js").ZoneNames} zones
 * @param {AbortSignal} signal
 */
function editor(event, zones, signal) {
  const typed = typedTexts(currentUser()?.id ?? 0, event?.id ?? "new");
  const { fields, read, edited } = eventFields(event, typed.read(), zones);
  const list = Object.values(fields);
  const asDraft = h(
    "button.button.plain.wide",
    t(event?.status === "draft" ? "editor.save_draft" : "editor.create_draft"),
  );
  const publishes = !event || event.status === "draft";
  /** @param {Record<string, unknown>} wanted */
  const keep = async (wanted) => {
    const id = await save(event, wanted);
    settle();
    await navigate(`/organizer/events/${id}`, { replace: true });
  };
  const { element, say } = form(list, {
    selector: "form.form.editor",
    content: [
      group(t("editor.what"), fields.title, fields.description, row(fields.category, fields.image_url)),
      group(t("editor.when"), row(fields.starts_at, fields.ends_at), fields.time_zone, fields.venue),
      group(
        t("editor.seats"),
        row(fields.price, fields.currency),
        fields.capacity,
        row(fields.max_seats_per_booking, fields.max_seats_per_person),
      ),
      group(t("editor.sales"), row(fields.sales_start_at, fields.sales_end_at)),
    ],
    submit: publishes ? t("editor.publish") : t("editor.save"),
    work: () => keep({ ...read(), ...(publishes ? { status: "published" } : {}) }),
  });
  asDraft.addEventListener("click", async () => {
    const wrong = list.filter((candidate) => !candidate.check());
    if (wrong.length) return wrong[0].control.focus();
    await whileBusy(asDraft, () => keep({ ...read(), status: "draft" })).catch((error) => say(place(error, list)));
  });
  if (publishes) element.append(asDraft);
  let settled = false;
  const settle = () => {
    settled = true;
    typed.forget();
  };
  const unsaved = () => !settled && Object.keys(edited()).length > 0;
  // Drafts of a new event survive a reload. Changes to an existing one survive only the end of the session.
  if (event) typed.forget();
  else element.addEventListener("input", () => typed.keep(edited()));
  signal.addEventListener("abort", () => unsaved() && !currentUser() && typed.keep(edited()));
  const ask = async () => {
    const given = await confirmDialog({
      title: t("editor.unsaved"),
      text: t("editor.unsaved_text"),
      yes: t("editor.discard"),
      no: t("editor.go_on"),
      danger: true,
    });
    if (given) settle();
    return given;
  };
  holdPage({ unsaved, ask, signal });

  const preview = h("div", { inert: true });
  const drawPreview = () => {
    const shown = read();
    if (!shown.starts_at || !shown.ends_at) return;
    const sample = {
      ...shown,
      id: event?.id ?? "",
      title: shown.title || t("editor.title"),
      venue: shown.venue || t("editor.venue"),
      available: Math.max(0, shown.capacity - (event ? event.capacity - event.available : 0)),
      organizer_id: 0,
      status: /** @type {const} */ ("published"),
      version: 0,
      updated_at: "",
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

/**
 * A PATCH carries what changed alone; a new event has an Idempotency-Key.
 * @param {Api.EventItem | null} event
 * @param {Record<string, unknown>} wanted
 * @returns {Promise<string>} its id
 */
async function save(event, wanted) {
  if (!event) {
    const set = Object.fromEntries(Object.entries(wanted).filter(([, value]) => value !== null));
    const created = await carryOut("create-event", currentUser()?.id ?? 0, "/api/events", set);
    toast(t(created.status === "draft" ? "editor.drafted" : "editor.published"));
    return created.id;
  }
  const changes = changesOf(wanted, event);
  if (Object.keys(changes).length) await request("PATCH", `/api/events/${event.id}`, { body: changes });
  toast(t(wanted.status === "published" ? "editor.published" : "editor.saved"));
  return event.id;
}

/** @param {Api.EventItem} event */
function dangers(event) {
  const { box, say } = alertBox();
  const taken = event.capacity - event.available;
  const draft = event.status === "draft";
  const button = h("button.button.danger", icon("close"), t(draft ? "editor.delete" : "editor.cancel"));
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
      toast(t(draft ? "editor.deleted" : "editor.cancelled"), { tone: "info" });
      await navigate("/organizer", { replace: true, asked: true });
    }).catch((error) => say(place(error, [])));
  });
  return h("section.dangers", h("p.hint", t(draft ? "editor.delete_hint" : "editor.cancel_hint")), button, box);
}
