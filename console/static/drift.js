// The page of drift: what /api/<inspection>/drift tells, with the course of each statistic and frames. All of it is put in as text.

import { send } from "./call.js";
import { drawn, node, number, plural } from "./nodes.js";

const root = document.getElementById("drift");
const names = JSON.parse(document.getElementById("names").textContent);

const day = (text) => new Date(text).toLocaleDateString("en-CA", { timeZone: "UTC" });
const minute = (text) => `${day(text)} ${new Date(text).toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit", timeZone: "UTC" })}`;
const ratio = (value) => (value >= 0.1 ? `${(100 * value).toFixed(0)} %` : value >= 0.0001 ? `${Number((100 * value).toPrecision(1))} %` : "under 0.01 %");

const WIDTH = 620, HEIGHT = 132, LEFT = 52, RIGHT = 10, TOP = 12, BOTTOM = 22;

// Evidence of pictures spans decades: a scale of ratios, from 1/10,000 of an alarm. The CUSUM of rates is on an even scale.
function chart(watch) {
  const points = watch.course;
  const times = points.map((p) => Date.parse(p.at));
  const [first, last] = [Math.min(...times), Math.max(...times)];
  const x = (t) => LEFT + ((WIDTH - LEFT - RIGHT) * (t - first)) / Math.max(1, last - first);
  const log = watch.kind === "pictures";
  const most = Math.max(1, ...points.map((p) => p.level));
  const scaled = (level) => (log ? Math.max(0, 4 + Math.log10(Math.max(level, 1e-4))) / (4 + Math.log10(Math.min(most, 1e3))) : level / most);
  const y = (level) => HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * Math.min(1, scaled(level));
  const parts = [];
  for (const level of log ? [0.0001, 0.01, 1] : [0, 0.5, 1]) {
    parts.push(drawn("line", { x1: LEFT, x2: WIDTH - RIGHT, y1: y(level), y2: y(level), class: level === 1 ? "limit" : "grid" }));
    parts.push(drawn("text", { x: LEFT - 6, y: y(level) + 4, "text-anchor": "end" }, level === 1 ? "alarm" : log ? `${100 * level} %` : `${100 * level} %`));
  }
  for (const alarm of watch.alarms) {
    const at = Date.parse(alarm.at);
    if (at >= first && at <= last) parts.push(drawn("circle", { cx: x(at), cy: y(points.find((p) => Date.parse(p.at) >= at)?.level ?? 1), r: 4.5, class: "raised" }));
  }
  // where nothing was watched (an alarm was open), the line has a gap
  const usual = times.slice(1).map((t, i) => t - times[i]).sort((a, b) => a - b)[Math.floor((times.length - 1) / 2)] || 0;
  let path = "";
  points.forEach((p, i) => (path += `${i === 0 || times[i] - times[i - 1] > Math.max(4 * usual, 36e5 * 30) ? "M" : "L"}${x(times[i]).toFixed(1)} ${y(p.level).toFixed(1)}`));
  parts.push(drawn("path", { d: path, class: "course" }));
  const base = HEIGHT - 6;
  parts.push(drawn("text", { x: LEFT, y: base }, day(first)), drawn("text", { x: WIDTH - RIGHT, y: base, "text-anchor": "end" }, day(last)));
  const highest = points.reduce((a, b) => (b.level > a.level ? b : a));
  const words = `${watch.name} ${watch.kind}: from ${day(first)} to ${day(last)}, highest ${ratio(highest.level)} of an alarm at ${minute(highest.at)}`;
  return drawn("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": words, class: "drift" }, drawn("title", {}, words), ...parts);
}

const LEADING = { brightness: "brightness", contrast: "contrast", sharpness: "fine detail", clipped: "clipped pixels", novelty: "frames unlike the reference", direction: "the direction of embeddings", spot: "a spot in one place" };
const STATE = { alarm: ["alarm", "bad"], watched: ["as it was", "good"], learning: ["learning what is usual", "warn"] };

function watched(watch) {
  const [word, colour] = STATE[watch.state];
  const newest = watch.course.at(-1);
  const near = newest && newest.level >= 0.0001 ? `${ratio(newest.level)} of an alarm, most of it ${LEADING[newest.leading] ?? newest.leading}` : "far from an alarm";
  const now = watch.state === "watched" && newest ? near : null;
  const since = watch.since ? `since ${watch.state === "alarm" ? "about " : ""}${minute(watch.since)}` : "";
  return node(
    "article",
    { class: "watch", "aria-label": `${watch.name} ${watch.kind}` },
    node("h4", {}, `${watch.name} `, node("span", { class: "soft" }, `${watch.station} · ${watch.kind}`)),
    node("p", {}, node("span", { class: colour }, word), ` ${since}`, now ? node("span", { class: "soft" }, ` · ${now}`) : null),
    watch.course.length > 1 ? chart(watch) : node("p", { class: "soft" }, watch.state === "learning" ? "No course yet: it begins when the reference is complete." : "No window was looked at since the reference."),
    node("p", { class: "soft" }, watch.state === "learning" ? `so far: ${watch.reference}` : `compared with ${watch.reference}`, watch.seen_at ? `; seen up to ${minute(watch.seen_at)}` : ""),
  );
}

function frames(title, examples) {
  return node(
    "figure",
    { class: "frames" },
    node("figcaption", { class: "soft" }, title),
    examples.length ? examples.map((e) => node("div", {}, node("a", { href: `/api/image/${encodeURIComponent(e.sample_id)}`, target: "_blank" }, node("img", { src: `/api/image/${encodeURIComponent(e.sample_id)}`, alt: `frame of ${minute(e.captured_at)}`, loading: "lazy" })), node("span", { class: "soft" }, minute(e.captured_at)), e.says ? node("span", {}, `engine: ${e.says}`) : null)) : node("p", { class: "soft" }, "no captured frame"),
  );
}

const percent = (value) => `${value > 0 ? "+" : ""}${(100 * value).toFixed(1)} %`;
const FIGURES = { brightness_change: ["brightness", percent], contrast_change: ["contrast", percent], fine_detail_change: ["fine detail", percent], novelty_sd: ["unlike the reference", (v) => `${v.toFixed(1)} sd`], spot_cells: ["cells with a spot", number], rate: ["rate", (v) => `${(100 * v).toFixed(2)} %`], usual_rate: ["usual rate", (v) => `${(100 * v).toFixed(2)} %`], frames: ["n frames", number] };

function figures(found) {
  return Object.entries(FIGURES).filter(([key]) => typeof found[key] === "number").map(([key, [name, form]]) => node("span", { class: "chip plain" }, `${name} ${form(found[key])}`));
}

function closing(name, alarm, again) {
  const note = node("input", { "aria-label": `what was found about alarm ${alarm.id}`, placeholder: "what was found", maxlength: "500" });
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
  const mended = node("button", { type: "button", title: "the reference stays" }, "Mended: it is as it was");
  const normal = node("button", { type: "button", title: "the reference begins anew" }, "The new normal: begin anew");
  mended.addEventListener("click", () => close(false));
  normal.addEventListener("click", () => close(true));
  return node("div", {}, node("div", { class: "closing" }, note, mended, normal), problem);
}

function alarmed(name, alarm, again) {
  const open = alarm.closed_at === null;
  const began = alarm.began_at ? `, began about ${minute(alarm.began_at)}` : "";
  return node(
    "article",
    { class: `alarm ${open ? "open" : "closed"}`, "aria-label": `alarm ${alarm.id}` },
    node("h4", {}, node("span", { class: open ? "bad" : "soft" }, open ? "Open: " : "Closed: "), alarm.words),
    node("p", { class: "soft" }, `alarm ${alarm.id} · ${alarm.device} (${alarm.station}) · ${alarm.kind} · raised at ${minute(alarm.window_at)}${began}`),
    node("p", { class: "chips" }, figures(alarm.figures)),
    node("div", { class: "sides" }, frames("before", alarm.examples.before), frames("since it began", alarm.examples.after)),
    node("p", {}, alarm.followed.join(" ")),
    open ? closing(name, alarm, again) : node("p", {}, `Closed by ${alarm.closed_by} at ${minute(alarm.closed_at)}: ${alarm.note}`),
  );
}

function section(name) {
  const status = node("p", { class: "soft status", role: "status" }, "loading…");
  const body = node("div", {});
  const made = node("section", { class: "inspection", "aria-label": name }, node("div", { class: "headline" }, node("h2", {}, name), status), body);
  const load = async () => {
    try {
      const answer = await fetch(`/api/${encodeURIComponent(name)}/drift`);
      const value = await answer.json();
      if (!answer.ok) throw new Error(value.error);
      status.textContent = value.open ? `${plural(value.open, "open alarm")}` : "no open alarm";
      status.className = value.open ? "bad status" : "soft status";
      const off = value.watch ? null : node("p", { class: "warn" }, "Drift is not watched: policy.toml says watch = false in [drift].");
      const isOpen = value.alarms.filter((a) => a.closed_at === null);
      const closed = value.alarms.filter((a) => a.closed_at !== null);
      const nothing = node("p", { class: "soft" }, "Nothing was looked at yet: the watch flow looks once windows are ingested.");
      body.replaceChildren(
        ...[
          off,
          ...isOpen.map((a) => alarmed(name, a, load)),
          value.watches.length ? node("h3", {}, `How near an alarm each device is (allowed by chance: ${plural(value.false_alarms_per_year, "alarm")} a year in all)`) : nothing,
          node("div", { class: "watches" }, value.watches.map(watched)),
          closed.length ? node("details", {}, node("summary", {}, plural(closed.length, "closed alarm")), closed.map((a) => alarmed(name, a, load))) : null,
        ].filter((part) => part !== null),
      );
    } catch (error) {
      status.textContent = `${error.message}; reload the page to try again`;
    }
  };
  return [made, load];
}

const sections = names.map(section);
root.replaceChildren(...sections.map(([made]) => made));
if (!names.length) root.replaceChildren(node("p", {}, "No inspection yet. Make one from a folder of images: ", node("code", {}, "andon init NAME --from FOLDER")));
for (const [, load] of sections) await load();
