// What an organizer needs for the door of an event: who has come, the scanner, and links for people without an account.
import { get, getAllPages, post, request } from "./api.js";
import { h, replace } from "./dom.js";
import { field, form } from "./forms.js";
import { autoRefresh } from "./fresh.js";
import { explain, t, zonedTime } from "./i18n.js";
import { toast } from "./toast.js";
import { alertBox, confirmDialog, iconButton, loadPart, whileBusy } from "./views.js";

/** The services allow 90 days; a day less, as clocks differ. */
const MAX_LINK_MS = 89 * 86_400_000;

/** @typedef {{ present: number, expected: number }} Attendance */

/** @param {Api.EventItem} event @param {AbortSignal} signal */
export function doorSection(event, signal) {
  const query = { event_id: event.id };
  const counts = h("p");
  const list = h("div");
  const { box, showMessage } = alertBox();
  const showCounts = () =>
    loadPart(
      counts,
      signal,
      () => get("/tickets/check-ins", { query, signal }),
      (/** @type {Attendance} */ attendance) => [t("scan.counts", attendance)],
    );
  const showLinks = () =>
    loadPart(
      list,
      signal,
      () => getAllPages("/tickets/door-links", query, signal),
      (/** @type {Api.DoorLink[]} */ links) => [
        h(
          "ul.door-links",
          links.map((link) => linkRow(link, event, showLinks, showMessage)),
        ),
      ],
    );
  void showCounts();
  void showLinks();
  autoRefresh(showCounts, signal);
  return h(
    "section.card.door",
    h("h2", t("door.title")),
    counts,
    // Another document, because the policy of this one forbids the camera.
    h("p.actions", h("a.button", { href: `/scan?event=${event.id}`, target: "_self" }, t("door.scan"))),
    h("h3", t("door.links")),
    h("p.hint", t("door.links_text")),
    list,
    box,
    linkForm(event, showLinks),
  );
}

/**
 * @param {Api.DoorLink} link
 * @param {Api.EventItem} event
 * @param {() => Promise<void>} refresh
 * @param {(text: string) => void} showMessage
 */
function linkRow({ id, label, expires_at: at }, event, refresh, showMessage) {
  const revoke = iconButton("close", t("door.revoke"), { "aria-label": t("door.revoke_label", { label }) });
  revoke.addEventListener("click", async () => {
    const question = { title: t("door.revoke_title", { label }), text: t("door.revoke_text"), yes: t("door.revoke") };
    if (!(await confirmDialog({ ...question, danger: true }))) return;
    await whileBusy(revoke, () => request("DELETE", `/tickets/door-links/${id}`)).then(refresh, (error) =>
      showMessage(explain(error)),
    );
  });
  const until = t("door.until", { time: zonedTime(at, event) });
  return h("li", h("span", h("strong", label), h("br"), h("small", until)), revoke);
}

/** @param {Api.EventItem} event @param {() => Promise<void>} refresh */
function linkForm(event, refresh) {
  const label = field({
    name: "label",
    label: t("door.label"),
    hint: t("door.label_hint"),
    required: true,
    maxLength: 60,
    autocomplete: "off",
  });
  const made = h("div", { role: "status" });
  const { element } = form([label], {
    content: [label.root],
    submit: t("door.make"),
    onSubmit: async () => {
      // Until the event is over, within what the service allows.
      const end = Math.max(Date.parse(event.ends_at), Date.now() + 3_600_000);
      const expiresAt = new Date(Math.min(end, Date.now() + MAX_LINK_MS)).toISOString();
      const body = { event_id: event.id, label: label.control.value, expires_at: expiresAt };
      const { token } = await post("/tickets/door-links", body);
      // In the fragment the token is sent to no server, and reaches no log.
      showLink(made, `${location.origin}/scan?event=${event.id}#${token}`);
      label.control.value = "";
      await refresh();
    },
  });
  return h("div.door-form", element, made);
}

/** @param {HTMLElement} place @param {string} url */
function showLink(place, url) {
  const link = h("input", { readonly: true, value: url, "aria-label": t("door.link"), dir: "ltr" });
  const copy = iconButton("share", t("door.copy"), {
    onclick: () => navigator.clipboard.writeText(url).then(() => toast(t("door.copied"))),
  });
  // The clipboard is there in secure contexts only.
  replace(place, h("p", t("door.once")), h("p.door-link", link, navigator.clipboard && copy));
  link.select();
}
