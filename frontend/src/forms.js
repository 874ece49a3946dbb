// Forms: labelled fields with errors beside them, validation, and errors of services shown beside their fields.
import { ApiError } from "./api.js";
import { h, uniqueId } from "./dom.js";
import { explain, language, t, tOr } from "./i18n.js";
import { alertBox, whileBusy } from "./views.js";

/** @typedef {HTMLInputElement | HTMLTextAreaElement | HTMLSelectElement} Control */

/**
 * @typedef {object} Field
 * @property {HTMLElement} root
 * @property {Control} control
 * @property {(message: string) => void} setError shows an error beside the field; "" clears it
 * @property {(text?: string) => void} setNote shows a text instead of the hint
 * @property {() => boolean} validate
 */

/**
 * @typedef {object} FieldOptions
 * @property {string} name the service's name of the field
 * @property {string} label
 * @property {string} [hint]
 * @property {"input" | "textarea" | "select"} [tag]
 * @property {[string, string][]} [options] value and text, for a select
 * @property {number} [minLength] in characters
 * @property {number} [maxLength] in characters
 * @property {(value: string) => string | undefined} [rule] returns the error of a value that passes HTML's checks
 * @property {boolean} [accepted] whether the initial value is stored, and not validated again
 */

/**
 * @param {FieldOptions & Record<string, unknown>} options the rest are attributes of the control
 * @returns {Field}
 */
export function field({ name, label, hint, tag = "input", options = [], ...rest }) {
  const { minLength = 0, maxLength = Infinity, rule, accepted, ...attributes } = rest;
  const [id, hintId, errorId] = [uniqueId(), uniqueId(), uniqueId()];
  const choices = options.map(([value, text]) => h("option", { value }, text));
  /** @type {Control} */
  const control = h(tag, { id, name, "aria-describedby": `${hintId} ${errorId}`, ...attributes }, choices);
  if (attributes.value !== undefined) control.value = String(attributes.value);
  const initialValue = control.value;
  const hintBox = h("span.hint", { id: hintId, "aria-live": "polite" }, hint);
  const setNote = (text = hint) => (hintBox.textContent = text ?? "");
  const error = h("span.field-error", { id: errorId });
  const setError = (/** @type {string} */ message) => {
    error.textContent = message;
    if (message) control.setAttribute("aria-invalid", "true");
    else control.removeAttribute("aria-invalid");
  };
  const validate = () => {
    const isRelevant = !accepted || control.value !== initialValue;
    const message = isRelevant
      ? nativeError(control) ||
        lengthError(control, minLength, maxLength) ||
        (control.value ? (rule?.(control.value) ?? "") : "")
      : "";
    setError(message);
    return !message;
  };
  control.addEventListener("change", validate);
  control.addEventListener("input", () => control.hasAttribute("aria-invalid") && validate());
  const optional = control.required ? undefined : h("small", ` ${t("form.optional")}`);
  const root = h("div.field", h("label", { for: id }, label, optional), control, hintBox, error);
  return { root, control, setError, setNote, validate };
}

/** The error of HTML's own checks, in the visitor's language. @param {Control} control */
function nativeError(control) {
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
 * Counts characters as the services do: an emoji is one, which HTML counts as two, and passwords are normalized.
 * @param {Control} control
 * @param {number} minLength
 * @param {number} maxLength
 */
function lengthError({ type, value }, minLength, maxLength) {
  const count = [...(type === "password" ? value.normalize("NFKC") : value.trim())].length;
  if (value && count < minLength) return t("form.short", { n: minLength });
  return count > maxLength ? t("form.long", { n: maxLength }) : "";
}

/** The field for the name of a person. @param {{ value?: string }} [rest] */
export const nameField = (rest) =>
  field({ name: "name", label: t("account.name"), required: true, autocomplete: "name", maxLength: 100, ...rest });

/**
 * A form with `fields`. `onSubmit` runs with valid values, and not concurrently.
 * @param {Field[]} fields
 * @param {{ content: import("./dom.js").Child[], submit: string, onSubmit: () => Promise<void>, selector?: string }} options
 */
export function form(fields, { content, submit, onSubmit, selector = "form.form" }) {
  const { box, showMessage } = alertBox();
  const button = h("button.button.wide", { type: "submit" }, submit);
  const element = h(selector, { novalidate: true }, content, box, button);
  element.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (button.disabled) return;
    showMessage();
    const invalid = fields.filter((candidate) => !candidate.validate());
    if (invalid.length) return invalid[0].control.focus();
    await whileBusy(button, onSubmit).catch((error) => showMessage(showFieldErrors(error, fields)));
    fields.find(({ control }) => control.hasAttribute("aria-invalid"))?.control.focus();
  });
  return { element, button, showMessage };
}

/** A message of a service, which goes on after the name of its field. @param {string} message */
const sentence = (message) => `${message.charAt(0).toUpperCase()}${message.slice(1)}.`;

/**
 * Shows the errors of a request beside their fields.
 * @param {unknown} error
 * @param {Field[]} fields
 * @returns {string} the message above the form
 */
export function showFieldErrors(error, fields) {
  const errors = error instanceof ApiError ? (error.problem.errors ?? []) : [];
  const rest = errors.filter(({ field: name, message }) => {
    const target = fields.find(({ control }) => control.name === name);
    target?.setError(tOr(`field.${name}`, language === "en" ? sentence(message) : t("form.wrong")));
    return !target;
  });
  if (errors.length && !rest.length) return t("form.correct");
  // Services respond in English, so only readers of English see details of errors without a field.
  const details = language === "en" ? rest.map(({ field: name, message }) => `${name}: ${message}`) : [];
  return [explain(error), ...details].join(" ");
}
