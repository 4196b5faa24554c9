// The page of drift: what /api/<inspection>/drift tells, with the course of each statistic and frames. All of it is put in as text.

import { send } from "./call.js";
import { likely } from "./drift_words.js";
import { decimal, drawn, node, number, pointed } from "./nodes.js";
import { t } from "./texts.js";

const root = document.getElementById("drift");
const names = JSON.parse(document.getElementById("names").textContent);

const day = (text) => new Date(text).toLocaleDateString("en-CA", { timeZone: "UTC" });
const minute = (text) => `${day(text)} ${new Date(text).toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit", timeZone: "UTC" })}`;
const ratio = (value) => (value >= 0.1 ? `${decimal(100 * value, 0)} %` : value >= 0.0001 ? `${pointed(Number((100 * value).toPrecision(1)))} %` : t("drift.under", { share: `${pointed(0.01)} %` }));

const WIDTH = 620, HEIGHT = 132, LEFT = 52, RIGHT = 10, TOP = 12, BOTTOM = 22;

// Evidence of pictures spans decades: a scale of ratios, from 1/10,000 of an alarm. The CUSUM of rates is on an even scale.
function chart(watch) {
  const points = watch.course;
  const times = points.map((p) => Date.parse(p.at));
  const [first, last] = [Math.min(...times), Math.max(...times)];
  const x = (time) => LEFT + ((WIDTH - LEFT - RIGHT) * (time - first)) / Math.max(1, last - first);
  const log = watch.kind === "pictures";
  const most = Math.max(1, ...points.map((p) => p.level));
  const scaled = (level) => (log ? Math.max(0, 4 + Math.log10(Math.max(level, 1e-4))) / (4 + Math.log10(Math.min(most, 1e3))) : level / most);
  const y = (level) => HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * Math.min(1, scaled(level));
  const parts = [];
  for (const level of log ? [0.0001, 0.01, 1] : [0, 0.5, 1]) {
    parts.push(drawn("line", { x1: LEFT, x2: WIDTH - RIGHT, y1: y(level), y2: y(level), class: level === 1 ? "limit" : "grid" }));
    parts.push(drawn("text", { x: LEFT - 6, y: y(level) + 4, "text-anchor": "end" }, level === 1 ? t("drift.state_alarm") : `${pointed(100 * level)} %`));
  }
  for (const alarm of watch.alarms) {
    const at = Date.parse(alarm.at);
    if (at >= first && at <= last) parts.push(drawn("circle", { cx: x(at), cy: y(points.find((p) => Date.parse(p.at) >= at)?.level ?? 1), r: 4.5, class: "raised" }));
  }
  // where nothing was watched (an alarm was open), the line has a gap
  const usual = times.slice(1).map((time, i) => time - times[i]).sort((a, b) => a - b)[Math.floor((times.length - 1) / 2)] || 0;
  let path = "";
  points.forEach((p, i) => (path += `${i === 0 || times[i] - times[i - 1] > Math.max(4 * usual, 36e5 * 30) ? "M" : "L"}${x(times[i]).toFixed(1)} ${y(p.level).toFixed(1)}`));
  parts.push(drawn("path", { d: path, class: "course" }));
  const base = HEIGHT - 6;
  parts.push(drawn("text", { x: LEFT, y: base }, day(first)), drawn("text", { x: WIDTH - RIGHT, y: base, "text-anchor": "end" }, day(last)));
  const highest = points.reduce((a, b) => (b.level > a.level ? b : a));
  const words = t("drift.course", { name: watch.name, kind: t("drift.kind_" + watch.kind), first: day(first), last: day(last), level: ratio(highest.level), at: minute(highest.at) });
  return drawn("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": words, class: "drift" }, drawn("title", {}, words), ...parts);
}

// what a watch of pictures bets on; one of rates leads with the name of a class, which is said as it is
const BETS = ["brightness", "contrast", "sharpness", "clipped", "novelty", "direction", "spot"];
const STATE = { alarm: "bad", watched: "good", learning: "warn" };

function watched(watch) {
  const kind = t("drift.kind_" + watch.kind);
  const newest = watch.course.at(-1);
  const leading = newest && BETS.includes(newest.leading) ? t("drift.leading_" + newest.leading) : newest?.leading;
  const near = newest && newest.level >= 0.0001 ? t("drift.near", { level: ratio(newest.level), leading }) : t("drift.far");
  const now = watch.state === "watched" && newest ? near : null;
  const at = minute(watch.since);
  const since = !watch.since ? "" : watch.state === "alarm" ? t("drift.since_about", { at }) : t("drift.since", { at });
  return node(
    "article",
    { class: "watch", "aria-label": `${watch.name} ${kind}` },
    node("h4", {}, `${watch.name} `, node("span", { class: "soft" }, `${watch.station} · ${kind}`)),
    node("p", {}, node("span", { class: STATE[watch.state] }, t("drift.state_" + watch.state)), ` ${since}`, now ? node("span", { class: "soft" }, ` · ${now}`) : null),
    watch.course.length > 1 ? chart(watch) : node("p", { class: "soft" }, watch.state === "learning" ? t("drift.no_course") : t("drift.no_window")),
    node("p", { class: "soft" }, watch.state === "learning" ? t("drift.so_far", { reference: watch.reference }) : t("drift.compared", { reference: watch.reference }), watch.seen_at ? `; ${t("drift.seen", { at: minute(watch.seen_at) })}` : ""),
  );
}

function frames(title, examples) {
  return node(
    "figure",
    { class: "frames" },
    node("figcaption", { class: "soft" }, title),
    examples.length ? examples.map((e) => node("div", {}, node("a", { href: `/api/image/${encodeURIComponent(e.sample_id)}`, target: "_blank" }, node("img", { src: `/api/image/${encodeURIComponent(e.sample_id)}`, alt: t("drift.frame_of", { at: minute(e.captured_at) }), loading: "lazy" })), node("span", { class: "soft" }, minute(e.captured_at)), e.says ? node("span", {}, t("drift.engine_says", { says: e.says })) : null)) : node("p", { class: "soft" }, t("drift.no_frame")),
  );
}

const change = (value) => `${value > 0 ? "+" : ""}${decimal(100 * value, 1)} %`;
const percent = (value) => `${decimal(100 * value, 2)} %`;
const FIGURES = { brightness_change: change, contrast_change: change, fine_detail_change: change, novelty_sd: (value) => t("drift.sd", { value: decimal(value, 1) }), spot_cells: number, rate: percent, usual_rate: percent, frames: number };

function figures(found) {
  return Object.entries(FIGURES).filter(([key]) => typeof found[key] === "number").map(([key, form]) => node("span", { class: "chip plain" }, `${t("drift.figure_" + key)} ${form(found[key])}`));
}

function closing(name, alarm, again) {
  const note = node("input", { "aria-label": t("drift.found_about", { id: String(alarm.id) }), placeholder: t("drift.found"), maxlength: "500" });
  const problem = node("p", { class: "problem", role: "alert" });
  const close = async (normal) => {
    problem.textContent = "";
    try {
      const body = { new_normal: normal, note: note.value };
      const answer = await send(`/api/${encodeURIComponent(name)}/drift/${alarm.id}/close`, body);
      if (!answer.ok) throw new Error((await answer.json()).error);
      await again();
    } catch (error) {
      problem.textContent = `${error.message}`;
    }
  };
  const mended = node("button", { type: "button", title: t("drift.reference_stays") }, t("drift.mended"));
  const normal = node("button", { type: "button", title: t("drift.reference_anew") }, t("drift.new_normal"));
  mended.addEventListener("click", () => close(false));
  normal.addEventListener("click", () => close(true));
  return node("div", {}, node("div", { class: "closing" }, note, mended, normal), problem);
}

function alarmed(name, alarm, again) {
  const open = alarm.closed_at === null;
  const title = t("drift.alarm", { id: String(alarm.id) });
  const began = alarm.began_at ? `, ${t("drift.began", { at: minute(alarm.began_at) })}` : "";
  return node(
    "article",
    { class: `alarm ${open ? "open" : "closed"}`, "aria-label": title },
    node("h4", {}, node("span", { class: open ? "bad" : "soft" }, `${open ? t("drift.open") : t("drift.closed")} `), likely(alarm)),
    node("p", { class: "soft" }, `${title} · ${alarm.device} (${alarm.station}) · ${t("drift.kind_" + alarm.kind)} · ${t("drift.raised", { at: minute(alarm.window_at) })}${began}`),
    node("p", { class: "chips" }, figures(alarm.figures)),
    node("div", { class: "sides" }, frames(t("drift.before"), alarm.examples.before), frames(t("drift.after"), alarm.examples.after)),
    node("p", {}, alarm.followed.map(({ what, ...values }) => t("drift.followed_" + what, values)).join(" ")),
    open ? closing(name, alarm, again) : node("p", {}, t("drift.closed_by", { who: alarm.closed_by, at: minute(alarm.closed_at), note: alarm.note })),
  );
}

function section(name) {
  const status = node("p", { class: "soft status", role: "status" }, t("drift.loading"));
  const body = node("div", {});
  const made = node("section", { class: "inspection", "aria-label": name }, node("div", { class: "headline" }, node("h2", {}, name), status), body);
  const load = async () => {
    try {
      const answer = await fetch(`/api/${encodeURIComponent(name)}/drift`);
      const value = await answer.json();
      if (!answer.ok) throw new Error(value.error);
      status.textContent = value.open ? t("drift.open_alarms", { n: value.open }) : t("drift.no_open_alarm");
      status.className = value.open ? "bad status" : "soft status";
      const off = value.watch ? null : node("p", { class: "warn" }, t("drift.not_watched"));
      const isOpen = value.alarms.filter((a) => a.closed_at === null);
      const closed = value.alarms.filter((a) => a.closed_at !== null);
      const nothing = node("p", { class: "soft" }, t("drift.nothing_yet"));
      body.replaceChildren(
        ...[
          off,
          ...isOpen.map((a) => alarmed(name, a, load)),
          value.watches.length ? node("h3", {}, t("drift.how_near", { n: value.false_alarms_per_year, count: number(value.false_alarms_per_year) })) : nothing,
          node("div", { class: "watches" }, value.watches.map(watched)),
          closed.length ? node("details", {}, node("summary", {}, t("drift.closed_alarms", { n: closed.length })), closed.map((a) => alarmed(name, a, load))) : null,
        ].filter((part) => part !== null),
      );
    } catch (error) {
      status.textContent = t("drift.again", { problem: error.message });
    }
  };
  return [made, load];
}

const sections = names.map(section);
root.replaceChildren(...sections.map(([made]) => made));
if (!names.length) root.replaceChildren(node("p", {}, `${t("drift.no_inspection")} `, node("code", {}, "andon init NAME --from FOLDER")));
for (const [, load] of sections) await load();
