// Sales over time, as a chart and as a table.
import { h, s, uniqueId } from "./dom.js";
import { date, money, number, t } from "./i18n.js";

const WIDTH = 640;
const HEIGHT = 160;
const DAY = 86_400_000;
/** More days are drawn by week. */
const MAX_DAILY_BARS = 92;

/** @param {number | string} day @param {Intl.DateTimeFormatOptions["month"]} [month] */
const dayName = (day, month = "short") =>
  date(new Date(day).toISOString(), { day: "numeric", month, year: "numeric" }, "UTC");

/** @param {Api.DaySales[]} days oldest first, at least one */
export function salesChart(days) {
  const [titleId, textId] = [uniqueId(), uniqueId()];
  const { bars, step } = barsOf(days);
  const max = Math.max(...bars.map(({ sold, cancelled }) => sold + cancelled));
  const width = WIDTH / bars.length;
  const range = { from: dayName(bars[0].at), to: dayName(bars.at(-1)?.at ?? 0) };
  const columns = bars.flatMap(({ at, sold, cancelled }, index) => {
    const [x, soldHeight, cancelledHeight] = [index * width, (sold / max) * HEIGHT, (cancelled / max) * HEIGHT];
    const tip = s("title", {}, `${dayName(at)}: ${seatsText(sold, cancelled)}`);
    const box = { x: x + width * 0.15, width: width * 0.7 };
    return s(
      "g",
      {},
      tip,
      s("rect", { x, width, height: HEIGHT, opacity: 0 }),
      s("rect", { ...box, y: HEIGHT - soldHeight, height: soldHeight, rx: Math.min(4, width / 5), class: "sold" }),
      s("rect", { ...box, y: HEIGHT - soldHeight - cancelledHeight, height: cancelledHeight, class: "gone" }),
    );
  });
  return h(
    "figure.chart",
    h("figcaption", t(step === 1 ? "sales.by_day" : "sales.by_week"), h("span.hint", t("sales.most", { n: max }))),
    s(
      "svg",
      {
        viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
        role: "img",
        "aria-labelledby": `${titleId} ${textId}`,
        preserveAspectRatio: "none",
      },
      s("title", { id: titleId }, t("sales.title")),
      s("desc", { id: textId }, t("sales.picture", range)),
      columns,
    ),
    h("p.row.hint", h("span", range.from), h("span", range.to)),
    h("details", h("summary", t("sales.table")), table(days)),
  );
}

/** @param {number} sold @param {number} cancelled */
const seatsText = (sold, cancelled) =>
  [t("sales.sold", { n: sold }), cancelled && t("sales.cancelled", { n: cancelled })].filter(Boolean).join(", ");

/** Seats by day or week without gaps, over at least two weeks. @param {Api.DaySales[]} days */
function barsOf(days) {
  const last = Date.parse(days.at(-1)?.date ?? "");
  const first = Math.min(Date.parse(days[0].date), last - 13 * DAY);
  const step = (last - first) / DAY < MAX_DAILY_BARS ? 1 : 7;
  const bars = [];
  for (let at = first; at <= last; at += step * DAY) bars.push({ at, sold: 0, cancelled: 0 });
  for (const day of days) {
    const bar = bars[Math.floor((Date.parse(day.date) - first) / (step * DAY))];
    bar.sold += day.seats;
    bar.cancelled += day.cancelled_seats;
  }
  return { bars, step };
}

/** @param {Api.DaySales[]} days */
function table(days) {
  const names = ["sales.day", "organizer.sold", "organizer.revenue", "sales.cancelled_seats"].map((key) =>
    h("th", { scope: "col" }, t(/** @type {import("./i18n.js").TextKey} */ (key))),
  );
  const rows = days.map((day) =>
    h(
      "tr",
      h("th", { scope: "row" }, dayName(day.date)),
      h("td", number(day.seats)),
      h("td", money(day.amount, day.currency)),
      h("td", number(day.cancelled_seats)),
    ),
  );
  return h("table", h("thead", h("tr", names)), h("tbody", rows.reverse()));
}
