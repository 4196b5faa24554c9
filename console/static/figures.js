// How numbers are shown: with their interval and their n, in the reader's language.

import { language, t } from "./texts.js";
import { drawn, node } from "./nodes.js";

const digits = (value, options) => value.toLocaleString(language, options);
export const whole = (value) => digits(Math.round(value), { maximumFractionDigits: 0 });
export const plain = (value, most = 2) => digits(value, { maximumFractionDigits: most, minimumFractionDigits: most });
export const percent = (value) => `${digits(100 * value, { maximumFractionDigits: 100 * value < 10 ? 2 : 1, minimumFractionDigits: 1 })} %`;
export const minute = (text) => (text ? new Date(text).toLocaleString(language === "de" ? "de-DE" : "en-CA", { dateStyle: "short", timeStyle: "short", timeZone: "UTC", hour12: false }) : "–");
export const day = (text) => new Date(text).toLocaleDateString(language === "de" ? "de-DE" : "en-CA", { timeZone: "UTC" });

// Three and more figures are enough for anything that has an interval.
export const rounded = (value) => (Math.abs(value) >= 100 ? whole(value) : digits(value, { maximumSignificantDigits: 2 }));

export function told(amount, shown) {
  if (!amount || amount.value === null) return node("span", { class: "soft" }, t("figures.unknown", { count: String(amount?.n ?? 0) }));
  return node("span", { class: "figure" }, node("b", {}, shown(amount.value)), " ", node("span", { class: "soft interval" }, t("figures.interval", { low: shown(amount.low), high: shown(amount.high), count: whole(amount.n) })));
}

export const shareTold = (amount) => told(amount, percent);

// Intervals of several things one under the other on a common scale.
export function span(amount, least, most, { zero = null, kind = "" } = {}) {
  const width = 160, at = (value) => 4 + ((width - 8) * (Math.min(most, Math.max(least, value)) - least)) / (most - least || 1);
  const parts = [drawn("line", { x1: 4, x2: width - 4, y1: 9, y2: 9, class: "axis" })];
  if (zero !== null) parts.push(drawn("line", { x1: at(zero), x2: at(zero), y1: 1, y2: 17, class: "zero" }));
  if (amount && amount.value !== null) parts.push(drawn("line", { x1: at(amount.low), x2: Math.max(at(amount.high), at(amount.low) + 1), y1: 9, y2: 9, class: "reach" }), drawn("circle", { cx: at(amount.value), cy: 9, r: 4 }));
  return drawn("svg", { viewBox: `0 0 ${width} 18`, width, height: 18, class: `interval ${kind}`, "aria-hidden": "true" }, ...parts);
}
