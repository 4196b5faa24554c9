// The page of what the loop brought: what /api/<inspection>/value tells, as a page that prints.

import { answer, questions, send } from "./call.js";
import { day, minute, percent, rounded, shareTold, span, told, whole } from "./figures.js";
import { node } from "./nodes.js";
import { language, t } from "./texts.js";

const at = (id) => document.getElementById(id);
const root = at("value");
const KEYS = ["inspection", "days"];
const PRICES = ["escape", "false_alarm", "label", "gigabyte"];
const chosen = new URLSearchParams(location.search);
const question = questions();

const amount = (currency) => (value) => {
  const figures = Math.abs(value) >= 1000 ? Number(value.toPrecision(3)) : value; // an interval makes more of them vain
  return `${figures.toLocaleString(language, { maximumFractionDigits: Math.abs(value) >= 100 ? 0 : 2 })} ${currency}`;
};
const bytes = (value) => (Math.abs(value) >= 1e9 ? `${(value / 1e9).toLocaleString(language, { maximumSignificantDigits: 3 })} GB` : `${(value / 1e6).toLocaleString(language, { maximumSignificantDigits: 3 })} MB`);
const hours = (value) => (value >= 48 ? t("value.days", { count: (value / 24).toLocaleString(language, { maximumSignificantDigits: 2 }) }) : t("value.hours", { count: value.toLocaleString(language, { maximumSignificantDigits: 2 }) }));

function money(item, show) {
  if (!item) return node("td", { class: "money" }, node("span", { class: "soft" }, t("value.no_price")));
  const exact = item.low === item.high;
  return node("td", { class: "money" }, show(item.value), exact ? null : node("span", { class: "soft interval" }, t("value.between", { low: show(item.low), high: show(item.high) })));
}

const mark = (total) => (!total ? "unsure" : total.low > 0 ? "" : total.high < 0 ? "loss" : "unsure");

function sum(v, show) {
  const total = v.money.total;
  const words = !total ? t("value.state_prices") : total.low > 0 ? t("value.surely") : total.high < 0 ? t("value.loss") : t("value.not_sure");
  return node(
    "section",
    { class: `sum ${mark(total)}`, "aria-labelledby": "sum-title" },
    node("div", {}, node("h2", { id: "sum-title" }, (v.complete ? t("value.net") : t("value.net_stated"))), total ? node("div", { class: "total" }, show(total.value)) : null, total ? node("div", { class: "soft interval" }, t("value.between_95", { low: show(total.low), high: show(total.high), count: whole(v.escapes.n) })) : null),
    node(
      "div",
      {},
      node("p", {}, node("b", {}, words)),
      node("p", {}, t("value.told", { frames: v.frames, escapes: rounded(v.escapes.value), alarms: rounded(v.alarms.value), labels: v.labels })),
      v.fixed_hours ? node("p", {}, t("value.fixed_in"), " ", told(v.fixed_hours, hours)) : node("p", { class: "soft" }, t("value.nothing_fixed")),
    ),
  );
}

function account(v, show) {
  const p = v.prices;
  const each = (price) => (p[price] === null ? t("value.not_stated") : show(p[price]));
  const rows = [
    ["escapes", told(v.escapes, rounded), each("escape"), v.money.escapes],
    ["alarms", told(v.alarms, rounded), each("false_alarm"), v.money.alarms],
    ["labels", node("b", {}, whole(v.labels)), each("label"), v.money.labels],
    ["bytes", v.bytes_saved ? told(v.bytes_saved, bytes) : node("span", { class: "soft" }, "–"), each("gigabyte"), v.money.bytes],
  ].map(([name, count, price, item]) => node("tr", {}, node("th", { scope: "row" }, t("value.row_" + name)), node("td", { class: "wraps" }, count), node("td", {}, price), money(item, show)));
  const last = node("tr", { class: "sum-row" }, node("th", { scope: "row", colspan: "3" }, (v.complete ? t("value.net") : t("value.net_stated"))), money(v.money.total, show));
  return node(
    "section",
    { class: "panel" },
    node("h2", {}, t("value.account")),
    node("div", { class: "wide" }, node("table", { class: "account" }, node("thead", {}, node("tr", {}, ["what", "how_many", "price", "worth"].map((k) => node("th", { scope: "col", class: k === "worth" ? "money" : "" }, t("value.col_" + k))))), node("tbody", {}, rows, last))),
    v.all_bytes ? node("p", { class: "soft" }, t("value.sent", { sent: bytes(v.sent_bytes), all: bytes(v.all_bytes.value) })) : null,
  );
}

function steps(v) {
  const per = (one, n) => (one === null ? null : { value: one.value, low: one.low, high: one.high, n });
  const rows = v.steps.map((s) =>
    node(
      "tr",
      {},
      node("th", { scope: "row" }, t("value.step", { version: s.version, champion: s.champion })),
      node("td", {}, day(s.since)),
      node("td", {}, whole(s.frames)),
      node("td", { class: "wraps" }, s.escapes ? told(per(s.escapes, s.n), rounded) : t("value.not_kept")),
      node("td", { class: "wraps" }, s.alarms ? told(per(s.alarms, s.n), rounded) : t("value.not_kept")),
      node("td", { class: "wraps" }, s.fixed_hours ? told(s.fixed_hours, hours) : "–"),
    ),
  );
  return node("section", { class: "panel" }, node("h2", {}, t("value.promotions")), node("p", { class: "soft" }, t("value.promotions_how")), rows.length ? node("div", { class: "wide" }, node("table", { id: "steps" }, node("thead", {}, node("tr", {}, ["step", "since", "frames", "escapes", "alarms", "fixed"].map((k) => node("th", { scope: "col" }, t("value.col_" + k))))), node("tbody", {}, rows))) : node("p", {}, t("value.no_promotion")));
}

function served(v) {
  if (!v.served.length) return null;
  const best = (f) => f.difference ?? f.plain;
  const rows = v.served.map((m) => node("tr", {}, node("th", { scope: "row" }, t("value.version", { version: m.version })), node("td", { class: "wraps" }, shareTold(best(m.rate))), node("td", { class: "wraps" }, shareTold(best(m.recall)), span(best(m.recall), 0, 1)), node("td", { class: "wraps" }, shareTold(best(m.precision)), span(best(m.precision), 0, 1)), node("td", {}, whole(m.frames))));
  return node("section", { class: "panel" }, node("h2", {}, t("value.before_after")), node("p", { class: "soft" }, t("value.before_after_how")), node("div", { class: "wide" }, node("table", { id: "served" }, node("thead", {}, node("tr", {}, ["version", "rate", "recall", "precision", "frames"].map((k) => node("th", { scope: "col" }, t(k === "version" ? "value.col_version" : `field.col_${k}`))))), node("tbody", {}, rows))));
}

function assumed(v) {
  const said = ["counterfactual", "same_line", "chosen", "interval", "stops", "bytes"].map((k) => t("value.assumed_" + k));
  if (v.unknown_frames) said.push(t("value.assumed_unknown", { n: v.unknown_frames }));
  if (v.uncounted_frames) said.push(t("value.assumed_uncounted", { n: v.uncounted_frames }));
  return node("section", { class: "panel assumed" }, node("h2", {}, t("value.assumed")), node("ul", {}, said.map((text) => node("li", {}, text))), node("p", { class: "soft" }, t("value.drawn_up", { at: minute(v.at) })));
}

function prices(v) {
  if (root.dataset.may !== "yes") return v.complete ? null : node("p", { class: "soft prices-panel" }, t("value.ask_admin"));
  const inputs = Object.fromEntries(PRICES.map((name) => [name, node("input", { type: "number", min: "0", step: "any", value: v.prices[name] ?? "", id: `price-${name}` })]));
  const currency = node("input", { type: "text", maxlength: "8", value: v.prices.currency, id: "price-currency" });
  const problem = node("p", { class: "problem", role: "alert" });
  const save = node("button", { type: "submit" }, t("value.save"));
  const form = node("form", { class: "prices" }, node("label", {}, t("value.currency"), currency), PRICES.map((name) => node("label", {}, t("value.price_" + name), inputs[name])), save);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    problem.textContent = "";
    const stated = Object.fromEntries(PRICES.map((name) => [name, inputs[name].value === "" ? null : Number(inputs[name].value)]));
    try {
      await answer(await send(`/api/${encodeURIComponent(v.inspection)}/value/prices`, { ...stated, currency: currency.value.trim() }));
      await load();
    } catch (error) {
      problem.textContent = error.message;
    }
  });
  return node("section", { class: "panel prices-panel" }, node("h2", {}, t("value.prices")), node("p", { class: "soft" }, t("value.prices_how")), form, problem);
}

async function load() {
  const wanted = question(), inspection = chosen.get("inspection") ?? at("inspection").value;
  if (!inspection) return (at("state").textContent = t("field.no_inspection"));
  at("state").textContent = t("field.computing");
  try {
    const v = await answer(await fetch(`/api/${encodeURIComponent(inspection)}/value?days=${encodeURIComponent(chosen.get("days") ?? "0")}`));
    if (!wanted()) return;
    const show = amount(v.prices.currency);
    at("of").textContent = `${inspection}${v.since ? `, ${t("value.since", { day: day(v.since) })}` : ""}`;
    root.replaceChildren(...[sum(v, show), account(v, show), steps(v), served(v), assumed(v), prices(v)].filter((part) => part !== null));
    at("state").textContent = "";
    root.dataset.ready = "yes";
  } catch (error) {
    if (wanted()) at("state").textContent = error.message;
  }
}

at("print").addEventListener("click", () => window.print());
for (const key of KEYS) {
  if (chosen.get(key)) at(key).value = chosen.get(key);
  at(key).addEventListener("change", () => {
    chosen.set(key, at(key).value);
    history.replaceState(null, "", `?${chosen}`);
    load();
  });
}
load();
