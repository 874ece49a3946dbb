// Downloads an event as a calendar file.
import { h } from "./dom.js";
import { icalendar } from "./icalendar.js";

/** @param {Api.EventItem} event */
export function downloadCalendar(event) {
  const file = new Blob([icalendar(event, location.origin)], { type: "text/calendar;charset=utf-8" });
  const url = URL.createObjectURL(file);
  const words = event.title.match(/[\p{L}\p{M}\p{N}]+/gu) ?? ["event"];
  h("a", { href: url, download: `${[...words.join("-")].slice(0, 60).join("")}.ics` }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
