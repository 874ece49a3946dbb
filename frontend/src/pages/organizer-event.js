// The editor of an event, with a preview of its card; publishes, cancels and deletes events.
import { ApiError, get, request } from "../api.js";
import { h, icon, replace } from "../dom.js";
import { eventFields, formDraft } from "../event-form.js";
import { changedValues } from "../event-values.js";
import { form, showFieldErrors } from "../forms.js";
import { autoRefresh } from "../fresh.js";
import { t, tn } from "../i18n.js";
import { postOnce } from "../intent.js";
import { guardUnsavedEdits, navigate } from "../router.js";
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
  // A draft has no bookings, and only event-service knows it.
  const hasSales = event && event.status !== "draft";
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
          hasSales &&
            h("a.button.plain", { href: `/organizer/events/${id}/bookings` }, icon("user"), t("attendees.page")),
          h("a.button.plain", { href: `/events/${id}` }, t("editor.view")),
        ),
    ),
    hasSales && figures(event, signal),
    event?.status === "cancelled" ? h("p.alert", t("editor.is_cancelled")) : editor(event, zones, signal),
    event && event.status !== "cancelled" && dangerZone(event),
  );
}

/**
 * The sold and held seats. They need booking-service, whose failure must not affect the editor.
 * @param {Api.EventItem} event
 * @param {AbortSignal} signal
 */
function figures(event, signal) {
  const box = h("div", h("div.figures", skeletons("figure-skeleton", 4)));
  /** @returns {Promise<[Api.EventItem, Api.Sales]>} */
  const load = () =>
    Promise.all([get(`/api/events/${event.id}`, { signal }), get(`/bookings/events/${event.id}/sales`, { signal })]);
  /** @param {[Api.EventItem, Api.Sales]} data */
  const draw = ([now, { totals }]) => [eventFigures(now, totals)];
  void loadPart(box, signal, load, draw);
  autoRefresh(async () => {
    const data = await load();
    if (!signal.aborted) replace(box, draw(data));
  }, signal);
  return box;
}

/**
 * @param {Api.EventItem | null} event
 * @param {import("../time-zones.js").ZoneNames} zones
 * @param {AbortSignal} signal
 */
function editor(event, zones, signal) {
  const draft = formDraft(currentUser()?.id ?? 0, event?.id ?? "new");
  const { fields, read, edited } = eventFields(event, draft.read(), zones);
  const list = Object.values(fields);
  const draftButton = h(
    "button.button.plain.wide",
    t(event?.status === "draft" ? "editor.save_draft" : "editor.create_draft"),
  );
  const canPublish = !event || event.status === "draft";
  /** @param {Record<string, unknown>} values */
  const saveAndReload = async (values) => {
    const id = await save(event, values);
    markSaved();
    await navigate(`/organizer/events/${id}`, { replace: true });
  };
  const { element, showMessage } = form(list, {
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
    submit: canPublish ? t("editor.publish") : t("editor.save"),
    onSubmit: () => saveAndReload({ ...read(), ...(canPublish ? { status: "published" } : {}) }),
  });
  draftButton.addEventListener("click", async () => {
    const invalid = list.filter((candidate) => !candidate.validate());
    if (invalid.length) return invalid[0].control.focus();
    await whileBusy(draftButton, () => saveAndReload({ ...read(), status: "draft" })).catch((error) =>
      showMessage(showFieldErrors(error, list)),
    );
  });
  if (canPublish) element.append(draftButton);
  let saved = false;
  const markSaved = () => {
    saved = true;
    draft.clear();
  };
  const unsaved = () => !saved && Object.keys(edited()).length > 0;
  // Unsaved texts of a new event survive a reload; those of an existing event survive only the end of the session.
  if (event) draft.clear();
  else element.addEventListener("input", () => draft.save(edited()));
  signal.addEventListener("abort", () => unsaved() && !currentUser() && draft.save(edited()));
  const ask = async () => {
    const confirmed = await confirmDialog({
      title: t("editor.unsaved"),
      text: t("editor.unsaved_text"),
      yes: t("editor.discard"),
      no: t("editor.go_on"),
      danger: true,
    });
    if (confirmed) markSaved();
    return confirmed;
  };
  guardUnsavedEdits({ unsaved, ask, signal });

  const preview = h("div", { inert: true });
  const drawPreview = () => {
    const values = read();
    if (!values.starts_at || !values.ends_at) return;
    const sample = {
      ...values,
      id: event?.id ?? "",
      title: values.title || t("editor.title"),
      venue: values.venue || t("editor.venue"),
      available: Math.max(0, values.capacity - (event ? event.capacity - event.available : 0)),
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
    fields.map((part) => (part instanceof HTMLElement ? part : part.root)),
  );

/** @param {...Field} fields */
const row = (...fields) =>
  h(
    "div.field-row",
    fields.map(({ root }) => root),
  );

/**
 * Creates the event with an Idempotency-Key, or sends the changed values.
 * @param {Api.EventItem | null} event
 * @param {Record<string, unknown>} values
 * @returns {Promise<string>} its id
 */
async function save(event, values) {
  if (!event) {
    // Older replicas of event-service refuse fields that they do not know, so an empty one is not sent.
    const set = Object.fromEntries(Object.entries(values).filter(([, value]) => value !== null));
    const created = await postOnce("create-event", currentUser()?.id ?? 0, "/api/events", set);
    toast(t(created.status === "draft" ? "editor.drafted" : "editor.published"));
    return created.id;
  }
  const changes = changedValues(values, event);
  if (Object.keys(changes).length) await request("PATCH", `/api/events/${event.id}`, { body: changes });
  toast(t(values.status === "published" ? "editor.published" : "editor.saved"));
  return event.id;
}

/** @param {Api.EventItem} event */
function dangerZone(event) {
  const { box, showMessage } = alertBox();
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
      await navigate("/organizer", { replace: true, force: true });
    }).catch((error) => showMessage(showFieldErrors(error, [])));
  });
  return h("section.dangers", h("p.hint", t(draft ? "editor.delete_hint" : "editor.cancel_hint")), button, box);
}
