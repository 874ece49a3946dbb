// Forms: labelled fields with their error beside them, validation while typing, and the errors of a service
// put where they belong.
import { ApiError } from "./api.js";
import { h, uniqueId } from "./dom.js";
import { explain, language, t, tOr } from "./i18n.js";
import { alertBox, whileBusy } from "./views.js";

/** @typedef {HTMLInputElement | HTMLTextAreaElement | HTMLSelectElement} Control */

/**
 * @typedef {object} Field
 * @property {HTMLElement} root
 * @property {Control} control
 * @property {(message: string) => void} fail shows `message` beside the field; "" clears it
 * @property {(text?: string) => void} note shows a text about the value instead of the hint
 * @property {() => boolean} check
 */

/**
 * @typedef {object} FieldOptions
 * @property {string} name as the service calls it
 * @property {string} label
 * @property {string} [hint]
 * @property {"input" | "textarea" | "select"} [tag]
 * @property {[string, string][]} [options] value and text, for a select
 * @property {number} [shortest] in characters
 * @property {number} [longest] in characters
 * @property {(value: string) => string | undefined} [rule] what is wrong with a value beyond HTML's own checks
 * @property {boolean} [accepted] whether the service has accepted the first value, so that it is not validated again
 */

/**
 * @param {FieldOptions & Record<string, unknown>} options what is not named above becomes an attribute of the control
 * @returns {Field}
 */
export function field({ name, label, hint, tag = "input", options = [], ...rest }) {
  const { shortest = 0, longest = Infinity, rule, accepted, ...attributes } = rest;
  const [id, hintId, errorId] = [uniqueId(), uniqueId(), uniqueId()];
  const choices = options.map(([value, text]) => h("option", { value }, text));
  /** @type {Control} */
  const control = h(tag, { id, name, "aria-describedby": `${hintId} ${errorId}`, ...attributes }, choices);
  if (attributes.value !== undefined) control.value = String(attributes.value);
  const first = control.value;
  const hintBox = h("span.hint", { id: hintId, "aria-live": "polite" }, hint);
  const note = (text = hint) => (hintBox.textContent = text ?? "");
  const error = h("span.field-error", { id: errorId });
  const fail = (/** @type {string} */ message) => {
    error.textContent = message;
    if (message) control.setAttribute("aria-invalid", "true");
    else control.removeAttribute("aria-invalid");
  };
  const check = () => {
    const judged = !accepted || control.value !== first;
    const message = judged
      ? complaint(control) ||
        wrongLength(control, shortest, longest) ||
        (control.value ? (rule?.(control.value) ?? "") : "")
      : "";
    fail(message);
    return !message;
  };
  control.addEventListener("change", check);
  control.addEventListener("input", () => control.hasAttribute("aria-invalid") && check());
  const optional = control.required ? undefined : h("small", ` ${t("form.optional")}`);
  const root = h("div.field", h("label", { for: id }, label, optional), control, hintBox, error);
  return { root, control, fail, note, check };
}

/** What HTML's own checks have against a value, in the visitor's language. @param {Control} control */
function complaint(control) {
  const { validity } = control;
  const blank = control.required && control.type !== "password" && !control.value.trim();
  if (validity.valueMissing || (blank && !validity.badInput)) return t("form.missing");
  if (validity.valid) return "";
  if (validity.typeMismatch) return t(control.type === "email" ? "form.email" : "form.url");
  /** @param {string} name */
  const limit = (name) => Number(control.getAttribute(name));
  if (control.type !== "number") return t("form.wrong");
  if (validity.rangeUnderflow) return t("form.low", { n: limit("min") });
  if (validity.rangeOverflow) return t("form.high", { n: limit("max") });
  return t("form.wrong");
}

/**
 * Counts characters as the services do: an emoji is one, while HTML's own limits count two, and a password is counted
 * in its normal form.
 * @param {Control} control
 * @param {number} shortest
 * @param {number} longest
 */
function wrongLength({ type, value }, shortest, longest) {
  const count = [...(type === "password" ? value.normalize("NFKC") : value.trim())].length;
  if (value && count < shortest) return t("form.short", { n: shortest });
  return count > longest ? t("form.long", { n: longest }) : "";
}

/** The field for the name of a person. @param {{ value?: string }} [rest] */
export const nameField = (rest) =>
  field({ name: "name", label: t("account.name"), required: true, autocomplete: "name", longest: 100, ...rest });

/**
 * Turns `fields` into a form. `work` is run once at a time, with values that passed every check.
 * @param {Field[]} fields
 * @param {{ content: import("./dom.js").Child[], submit: string, work: () => Promise<void>, selector?: string }} options
 */
export function form(fields, { content, submit, work, selector = "form.form" }) {
  const { box, say } = alertBox();
  const button = h("button.button.wide", { type: "submit" }, submit);
  const element = h(selector, { novalidate: true }, content, box, button);
  element.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (button.disabled) return;
    say();
    const wrong = fields.filter((candidate) => !candidate.check());
    if (wrong.length) return wrong[0].control.focus();
    await whileBusy(button, work).catch((error) => say(place(error, fields)));
    fields.find(({ control }) => control.hasAttribute("aria-invalid"))?.control.focus();
  });
  return { element, button, say };
}

/**
 * Shows the errors of a refused body beside their fields.
 * @param {unknown} error
 * @param {Field[]} fields
 * @returns {string} what is left to say
 */
export function place(error, fields) {
  const errors = error instanceof ApiError ? (error.problem.errors ?? []) : [];
  const rest = errors.filter(({ field: name, message }) => {
    const target = fields.find(({ control }) => control.name === name);
    target?.fail(tOr(`field.${name}`, language === "en" ? message : t("form.wrong")));
    return !target;
  });
  if (errors.length && !rest.length) return t("form.correct");
  // Services answer in English, so only readers of English see the details of faults without a field here.
  const details = language === "en" ? rest.map(({ field: name, message }) => `${name}: ${message}`) : [];
  return [explain(error), ...details].join(" ");
}
