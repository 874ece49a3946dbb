// What an organizer needs for the door of an event: who has come, the scanner, and links for people without an account.
import { get, post, request } from "./api.js";
import { h, replace } from "./dom.js";
import { explain, shortTime, t } from "./i18n.js";
import { toast } from "./toast.js";
import { alertBox, confirmDialog, iconButton, loadPart, whileBusy } from "./views.js";

/** @typedef {{ present: number, expected: number }} Attendance */

/** @param {Api.EventItem} event @param {AbortSignal} signal */
export function doorSection(event, signal) {
  const query = { event_id: event.id };
  const counts = h("p");
  const list = h("div");
  const { box, showMessage } = alertBox();
  const load = () => get("/tickets/door-links", { query: { ...query, limit: 100 }, signal });
  const showLinks = () =>
    loadPart(list, signal, load, (/** @type {Api.Page<Api.DoorLink>} */ { items }) => [
      h(
        "ul.door-links",
        items.map((link) => linkRow(link, event, showLinks, showMessage)),
      ),
    ]);
  void loadPart(
    counts,
    signal,
    () => get("/tickets/check-ins", { query, signal }),
    (/** @type {Attendance} */ { present, expected }) => [t("scan.counts", { present, expected })],
  );
  void showLinks();
  return h(
    "section.card.door",
    h("h2", t("door.title")),
    counts,
    // A page of its own, because only that one may use the camera.
    h("p.actions", h("a.button", { href: `/scan?event=${event.id}`, target: "_self" }, t("door.scan"))),
    h("h3", t("door.links")),
    h("p.hint", t("door.links_text")),
    linkForm(event, showLinks),
    list,
    box,
  );
}

/**
 * @param {Api.DoorLink} link
 * @param {Api.EventItem} event
 * @param {() => Promise<void>} refresh
 * @param {(text: string) => void} showMessage
 */
function linkRow({ id, label, expires_at: at }, event, refresh, showMessage) {
  const revoke = iconButton("close", t("door.revoke"), {});
  revoke.addEventListener("click", async () => {
    const question = { title: t("door.revoke_title", { label }), text: t("door.revoke_text"), yes: t("door.revoke") };
    if (!(await confirmDialog({ ...question, danger: true }))) return;
    await whileBusy(revoke, () => request("DELETE", `/tickets/door-links/${id}`)).then(refresh, (error) =>
      showMessage(explain(error)),
    );
  });
  return h("li", h("span", label, " · ", t("door.until", { time: shortTime(at, event.time_zone) })), revoke);
}

/** @param {Api.EventItem} event @param {() => Promise<void>} refresh */
function linkForm(event, refresh) {
  const { box, showMessage } = alertBox();
  const label = h("input", {
    name: "label",
    required: true,
    maxlength: 60,
    "aria-label": t("door.label"),
    placeholder: t("door.label"),
  });
  const button = h("button.button.plain", { type: "submit" }, t("door.make"));
  const made = h("div");
  const form = h("form.door-form", label, button, box, made);
  form.addEventListener("submit", async (submit) => {
    submit.preventDefault();
    // Until the event is over, within what the service allows.
    const end = Math.max(Date.parse(event.ends_at), Date.now() + 3_600_000);
    const expiresAt = new Date(Math.min(end, Date.now() + 89 * 86_400_000)).toISOString();
    const body = { event_id: event.id, label: label.value, expires_at: expiresAt };
    try {
      const { token } = await whileBusy(button, () => post("/tickets/door-links", body));
      const url = `${location.origin}/scan?event=${event.id}#${token}`;
      const text = h("input", { readonly: true, value: url, "aria-label": t("door.link"), dir: "ltr" });
      const copy = iconButton("share", t("door.copy"), {
        onclick: () => navigator.clipboard?.writeText(url).then(() => toast(t("door.copied"))),
      });
      replace(made, h("p.hint", t("door.once")), text, copy);
      text.select();
      label.value = "";
      showMessage("");
      await refresh();
    } catch (error) {
      showMessage(explain(error));
    }
  });
  return form;
}
