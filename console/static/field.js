// The page of the field: what /api/<inspection>/field tells. What is chosen is in the address.

import { answer, questions } from "./call.js";
import { day, percent, shareTold, span, whole } from "./figures.js";
import { likely } from "./drift_words.js";
import { drawn, node } from "./nodes.js";
import { t } from "./texts.js";

const at = (id) => document.getElementById(id);
const KEYS = ["inspection", "days", "defect", "station"];
const chosen = new URLSearchParams(location.search);
const question = questions();

// The course of the defect rate: a point and its interval for each day, labels below.
function chart(value) {
  const points = value.points.filter((p) => p.rate.plain.value !== null || p.rate.difference);
  if (!points.length) return node("p", { class: "soft" }, t("field.nothing"));
  const best = (p) => p.rate.difference ?? p.rate.plain;
  const width = 960, height = 260, left = 56, right = 48, top = 12, bottom = 44;
  const times = points.map((p) => Date.parse(p.day));
  const first = times[0], last = Math.max(times.at(-1), first + 86400000);
  const values = points.map((p) => best(p).value);
  const highest = Math.min(1, Math.max(...points.map((p) => Math.min(best(p).high, 4 * Math.max(...values, 0.005)))) * 1.08);
  const x = (time) => left + ((width - left - right) * (time - first)) / (last - first);
  const y = (v) => top + (height - top - bottom) * (1 - Math.min(1, v / highest));
  const step = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5].find((s) => highest / s <= 5) ?? 0.5;
  const parts = [];
  for (let v = 0; v <= highest; v += step) parts.push(drawn("line", { x1: left, x2: width - right, y1: y(v), y2: y(v), class: "grid" }), drawn("text", { x: left - 8, y: y(v) + 4, "text-anchor": "end" }, percent(v)));
  points.forEach((p, i) => {
    const e = best(p), cut = e.high > highest;
    const words = `${day(p.day)}: ${percent(e.value)}, ${t("figures.interval", { low: percent(e.low), high: percent(e.high), count: whole(e.n) })}`;
    const mark = drawn("g", { class: "point" }, drawn("title", {}, words), drawn("line", { x1: x(times[i]), x2: x(times[i]), y1: y(e.low), y2: y(e.high), class: "reach" }), drawn("circle", { cx: x(times[i]), cy: y(e.value), r: 4 }));
    if (cut) mark.append(drawn("path", { d: `M ${x(times[i]) - 4} ${top + 5} l 4 -5 l 4 5`, class: "cut" }));
    parts.push(mark);
  });
  const every = Math.ceil(points.length / 10);
  points.forEach((p, i) => {
    if (i % every) return;
    parts.push(drawn("text", { x: x(times[i]), y: height - bottom + 18, "text-anchor": "middle" }, day(p.day)), drawn("text", { x: x(times[i]), y: height - bottom + 34, "text-anchor": "middle" }, `n = ${whole(best(p).n)}`));
  });
  const rows = points.map((p) => node("tr", {}, node("th", { scope: "row" }, day(p.day)), node("td", {}, shareTold(best(p))), node("td", {}, shareTold(p.recall.difference ?? p.recall.plain)), node("td", {}, whole(p.frames)), node("td", {}, whole(p.labelled))));
  return [
    drawn("svg", { viewBox: `0 0 ${width} ${height}`, class: "course", role: "img", "aria-label": t("field.chart_of", { n: points.length }) }, ...parts),
    node("p", { class: "soft" }, value.span_days === 1 ? t("field.each_day") : t("field.each_span", { n: value.span_days })),
    node("details", {}, node("summary", {}, t("field.as_table")), node("div", { class: "wide" }, node("table", {}, node("thead", {}, node("tr", {}, ["day", "rate", "recall", "frames", "labels"].map((k) => node("th", { scope: "col" }, t("field.col_" + k))))), node("tbody", {}, rows)))),
  ];
}

function worst(value) {
  const w = value.worst;
  if (!w) return node("section", { class: "panel", id: "worst" }, node("h2", {}, t("field.worst")), node("p", { class: "soft" }, t("field.no_worst")));
  const link = node("a", { href: `?${with_({ station: w.name })}` }, w.name);
  return node(
    "section",
    { class: "panel", id: "worst" },
    node("h2", {}, t("field.worst"), ": ", node("span", { class: w.sure ? "bad" : "warn" }, link)),
    node("p", {}, shareTold(w.rate), "; ", t("field.the_others"), " ", shareTold(w.others), "."),
    node("p", { class: w.sure ? "bad" : "soft" }, (w.sure ? t("field.stands_out", { n: w.places, low: percent(w.difference.low) }) : t("field.may_be_chance", { n: w.places, low: percent(w.difference.low) }))),
  );
}

function table(value, by) {
  const rows = value.measures.filter((m) => m.by === by);
  if (!rows.length) return null;
  const best = (f) => f.difference ?? f.plain;
  const most = Math.max(...rows.map((m) => Math.min(best(m.rate).high, 4 * Math.max(best(m.rate).value ?? 0, 0.002))), 0.001);
  rows.sort((a, b) => (best(b.rate).value ?? -1) - (best(a.rate).value ?? -1));
  const made = rows.map((m) =>
    node(
      "tr",
      { "data-name": m.name },
      node("th", { scope: "row" }, by === "station" ? node("a", { href: `?${with_({ station: m.name })}` }, m.name) : by === "class" ? node("a", { href: `?${with_({ defect: m.name })}` }, m.name) : m.name || t("field.all_frames")),
      node("td", { class: "wraps" }, shareTold(best(m.rate)), span(best(m.rate), 0, most, { kind: value.worst?.name === m.name && by === "station" ? "worst" : "" })),
      node("td", { class: "wraps" }, shareTold(best(m.recall)), node("div", { class: "soft" }, m.missed)),
      node("td", { class: "wraps" }, shareTold(best(m.precision))),
      node("td", {}, whole(m.frames)),
      node("td", {}, whole(m.labelled), m.nonresponse > 0.005 ? node("div", { class: "soft" }, t("field.nobody", { share: percent(m.nonresponse) })) : null),
    ),
  );
  return node("section", { class: "panel" }, node("h2", {}, t("field.by_" + by)), node("div", { class: "wide" }, node("table", { "data-by": by }, node("thead", {}, node("tr", {}, ["name", "rate", "recall", "precision", "frames", "labels"].map((k) => node("th", { scope: "col" }, t("field.col_" + k))))), node("tbody", {}, made))));
}

function drift(value) {
  const d = value.drift;
  return node(
    "section",
    { class: "panel" },
    node("h2", {}, t("field.drift"), " ", node("a", { href: "/drift", class: "soft" }, t("field.more"))),
    d.alarms.length ? node("ul", { class: "told" }, d.alarms.map((a) => node("li", {}, node("span", { class: "bad" }, `${a.station || a.device}, ${a.device}: `), likely(a), node("span", { class: "soft" }, ` ${t("field.since", { day: day(a.began_at ?? a.window_at) })}`)))) : node("p", {}, t("field.no_drift", { n: d.watched })),
    d.learning ? node("p", { class: "soft" }, t("field.learning", { n: d.learning })) : null,
  );
}

async function causes(inspection, into) {
  try {
    const found = await answer(await fetch(`/api/${encodeURIComponent(inspection)}/causes?days=0`));
    const said = found.associations.filter((a) => a.verdict === "found").slice(0, 3);
    into.replaceChildren(said.length ? node("ul", { class: "told" }, said.map((a) => node("li", {}, a.sentence))) : node("p", { class: "soft" }, t("field.no_causes", { n: found.tests })));
  } catch (error) {
    into.replaceChildren(node("p", { class: "soft" }, error.message));
  }
}

function with_(changes) {
  const next = new URLSearchParams(chosen);
  for (const [key, value] of Object.entries(changes)) value ? next.set(key, value) : next.delete(key);
  return next;
}

function options(select, names, first) {
  const now = chosen.get(select.id) ?? "";
  select.replaceChildren(node("option", { value: "" }, first), ...names.map((name) => node("option", { value: name }, name)));
  select.options[0].value = "";
  select.value = names.includes(now) ? now : "";
}

async function load() {
  const wanted = question(), inspection = chosen.get("inspection") ?? at("inspection").value;
  if (!inspection) return (at("state").textContent = t("field.no_inspection"));
  at("state").textContent = t("field.computing");
  const query = new URLSearchParams({ days: chosen.get("days") ?? "90" });
  for (const key of ["defect", "station"]) if (chosen.get(key)) query.set(key, chosen.get(key));
  try {
    const value = await answer(await fetch(`/api/${encodeURIComponent(inspection)}/field?${query}`));
    if (!wanted()) return;
    options(at("defect"), value.classes, t("field.any_defect"));
    options(at("station"), value.stations, t("field.all_stations"));
    const said = node("div", {}, node("p", { class: "soft" }, t("field.computing")));
    const parts = [
      worst(value),
      node("section", { class: "panel" }, node("h2", {}, (value.of_class ? t("field.over_time_of", { label: value.of_class }) : t("field.over_time", { label: value.of_class })), value.station ? node("span", { class: "soft" }, ` ${value.station}`) : null), chart(value)),
      ...["all", "class", "station", "device"].map((by) => table(value, by)),
      node("div", { class: "two" }, drift(value), node("section", { class: "panel" }, node("h2", {}, t("field.causes"), " ", node("a", { href: "/causes", class: "soft" }, t("field.more"))), said)),
    ];
    at("field").replaceChildren(...parts.filter((part) => part !== null));
    at("state").textContent = t("field.how");
    at("field").dataset.ready = "yes";
    await causes(inspection, said);
  } catch (error) {
    if (wanted()) at("state").textContent = error.message;
  }
}

for (const key of KEYS) {
  if (chosen.get(key) && key !== "defect" && key !== "station") at(key).value = chosen.get(key);
  at(key).addEventListener("change", () => {
    at(key).value ? chosen.set(key, at(key).value) : chosen.delete(key);
    if (key === "inspection") for (const other of ["defect", "station"]) chosen.delete(other);
    history.replaceState(null, "", `?${chosen}`);
    load();
  });
}
load();
