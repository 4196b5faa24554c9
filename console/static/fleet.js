// The page of the fleet: what /api/fleet tells, a page of the table at a time. All of it is put in as text. What is chosen is in the address, so that a view can be sent to somebody.

import { node, number, plural } from "./nodes.js";

const at = (id) => document.getElementById(id);
const REFRESH_MS = 15000, PAGE = 50, SHOWN = 8;
const KEYS = ["state", "site", "station", "engine", "client", "outcome", "inspection", "search"];
const STATES = { silent: "bad", degraded: "warn", unheard: "warn", ok: "good", off: "soft", revoked: "soft" };
const OUTCOMES = { quarantined: "bad", failed: "warn", trial: "", probation: "", confirmed: "good", none: "soft" };
const COLUMNS = [["device", "device"], ["site", "site"], ["station", "station"], ["state", "state"], ["heard", "last seen"], ["engine", "engine"], ["outcome", "release"], ["client", "client"], ["spool", "spool"], ["latency", "p99 ms"]];
const LARGEST_FIRST = ["heard", "spool", "latency", "frames"];

const chosen = new URLSearchParams(location.search);
let open = "", shown = null, waiting = null;

const sort = () => chosen.get("sort") ?? "state";
const descending = () => chosen.get("descending") === "true";
const offset = () => Number(chosen.get("offset") ?? 0);

function choose(changes, { stay = false } = {}) {
  for (const [key, value] of Object.entries(changes)) value === "" || value === null ? chosen.delete(key) : chosen.set(key, value);
  if (!stay) chosen.delete("offset");
  history.replaceState(null, "", chosen.size ? `?${chosen}` : location.pathname);
  load();
}

function ago(text, now) {
  if (!text) return "never";
  const seconds = Math.max(0, (Date.parse(now) - Date.parse(text)) / 1000);
  for (const [limit, unit, name] of [[120, 1, "s"], [7200, 60, "min"], [172800, 3600, "h"]]) if (seconds < limit) return `${Math.floor(seconds / unit)} ${name}`;
  return `${Math.floor(seconds / 86400)} d`;
}

const bytes = (n) => (n >= 1e9 ? `${(n / 1e9).toFixed(1)} GB` : n >= 1e6 ? `${(n / 1e6).toFixed(0)} MB` : `${(n / 1e3).toFixed(0)} kB`);

function button(label, pressed, does, attributes = {}) {
  const made = node("button", { type: "button", "aria-pressed": String(pressed), ...attributes }, label);
  made.addEventListener("click", does);
  return made;
}

function states(summary) {
  at("states").replaceChildren(
    ...Object.entries(summary.states).map(([state, count]) => {
      const on = chosen.get("state") === state;
      return button([node("b", { class: count ? STATES[state] : "soft" }, number(count)), node("span", {}, state)], on, () => choose({ state: on ? "" : state }));
    }),
  );
}

function counted(title, key, counts) {
  const entries = Object.entries(counts);
  const list = entries.slice(0, SHOWN).map(([value, count]) => {
    const on = chosen.get(key) === value;
    const name = value || "not said yet";
    return node("li", {}, value ? button(name, on, () => choose({ [key]: on ? "" : value })) : node("span", { class: "soft" }, name), node("span", { class: OUTCOMES[value] ?? "" }, number(count)));
  });
  return node("section", {}, node("h2", {}, title), node("ul", {}, list), entries.length > SHOWN ? node("p", { class: "soft" }, `and ${entries.length - SHOWN} more`) : null);
}

// the sites, or of a chosen site its stations: the worst first
function places(value) {
  const key = chosen.get("site") ? "station" : "site";
  const worst = Object.entries(key === "site" ? value.summary.sites : value.stations).sort(([a, x], [b, y]) => (y.silent ?? 0) + (y.degraded ?? 0) - (x.silent ?? 0) - (x.degraded ?? 0) || (a < b ? -1 : 1));
  const list = worst.slice(0, SHOWN).map(([place, of]) => {
    const on = chosen.get(key) === place;
    const told = Object.entries(of).filter(([, n]) => n).map(([state, n]) => node("span", { class: STATES[state] }, `${number(n)} ${state}`));
    return node("li", {}, button(place, on, () => choose({ [key]: on ? "" : place })), node("span", { class: "told" }, told));
  });
  const title = key === "site" ? plural(worst.length, "site") : `${plural(worst.length, "station")} of ${chosen.get("site")}`;
  return node("section", {}, node("h2", {}, title), node("ul", {}, list), worst.length > SHOWN ? node("p", { class: "soft" }, `and ${worst.length - SHOWN} more, no worse: find one by its name`) : null);
}

function head() {
  const cells = COLUMNS.map(([key, title]) => {
    const on = sort() === key;
    const turned = on ? !descending() : LARGEST_FIRST.includes(key);
    const made = node("th", { scope: "col", "aria-sort": on ? (descending() ? "descending" : "ascending") : "none" });
    made.append(button(`${title}${on ? (descending() ? " ↓" : " ↑") : ""}`, on, () => choose({ sort: key, descending: turned ? "true" : "" })));
    return made;
  });
  at("devices").tHead.replaceChildren(node("tr", {}, cells));
}

function facts(entries) {
  return node("dl", { class: "facts" }, entries.filter(([, value]) => value !== null && value !== "").flatMap(([name, value]) => [node("dt", {}, name), node("dd", {}, value)]));
}

function detail(value) {
  const beat = value.heartbeat;
  if (!beat) return [node("p", {}, value.revoked_at ? `Revoked: ${value.revoked_reason || "no reason given"}` : "Nothing was heard of it yet: does it run, and does it reach the bucket? `andon-edge doctor` there says what is wrong.")];
  const minutes = beat.interval_seconds ? ` (it says something every ${Math.round(beat.interval_seconds / 60) || "few"} min)` : "";
  return [
    beat.problems.length ? node("ul", { class: "told" }, beat.problems.map((problem) => node("li", {}, problem))) : null,
    facts([
      ["newest release", `${beat.rollout.engine_id || "none"}: ${beat.rollout.outcome}${beat.rollout.reason ? `, ${beat.rollout.reason}` : ""}`],
      ["engine", `${beat.engine_id} in slot ${beat.slot}, ${beat.engine_sha256.slice(0, 16)}…`],
      ["in quarantine", beat.quarantined.map((q) => `${q.engine_sha256.slice(0, 12)}…: ${q.reason}`).join("; ")],
      ["since its start", `${number(beat.frames)} frames, ${number(beat.requests_lost)} requests lost`],
      ["classes", Object.entries(beat.class_counts).map(([name, n]) => `${name} ${number(n)}`).join(", ")],
      ["latency", beat.latency_ms_p99 ? `${beat.latency_ms_p50.toFixed(1)} ms, p99 ${beat.latency_ms_p99.toFixed(1)} ms` : ""],
      ["spool", beat.spool_limit ? `${bytes(beat.spool_bytes)} of ${bytes(beat.spool_limit)}, ${plural(beat.spool_windows, "window")} to be sent` : ""],
      ["machine", beat.hardware ?? ""],
      ["channel", value.inspections.map((i) => `${i.name}: ${i.channel}`).join(", ")],
      ["heartbeat", `number ${beat.sequence}, received ${value.received_at.slice(0, 19).replace("T", " ")} UTC${minutes}`],
      ["revoked", value.revoked_at ? value.revoked_reason || "no reason given" : null],
    ]),
  ].filter(Boolean);
}

async function opened(name, into) {
  try {
    const answer = await fetch(`/api/fleet/device/${encodeURIComponent(name)}`);
    const value = await answer.json();
    if (!answer.ok) throw new Error(value.error);
    into.replaceChildren(...detail(value));
  } catch (error) {
    into.replaceChildren(node("p", { class: "problem" }, error.message));
  }
}

function row(device, now) {
  const is = open === device.device;
  const toggle = button(device.device, is, () => {
    open = is ? "" : device.device;
    rows(shown);
  }, { "aria-expanded": String(is), class: "plain" });
  toggle.removeAttribute("aria-pressed");
  const spool = device.spool_bytes ? `${bytes(device.spool_bytes)}${device.spool_share ? `, ${(100 * device.spool_share).toFixed(0)} %` : ""}` : "";
  const made = [
    node(
      "tr",
      {},
      node("th", { scope: "row" }, toggle, device.problem && !is ? node("div", { class: "soft problem-line" }, device.problem) : null),
      node("td", {}, device.site),
      node("td", {}, device.station),
      node("td", {}, node("span", { class: STATES[device.state] }, device.state)),
      node("td", { title: device.heard_at ?? "" }, ago(device.heard_at, now)),
      node("td", {}, device.engine_id),
      node("td", {}, node("span", { class: OUTCOMES[device.outcome] }, device.outcome)),
      node("td", {}, device.client_version),
      node("td", { class: device.spool_share > 0.8 ? "warn" : "" }, spool),
      node("td", {}, device.latency_ms_p99 ? device.latency_ms_p99.toFixed(1) : ""),
    ),
  ];
  if (is) {
    const into = node("td", { colspan: COLUMNS.length }, "loading…");
    made.push(node("tr", { class: "detail" }, into));
    opened(device.device, into);
  }
  return made;
}

function rows(value) {
  head();
  const body = at("devices").tBodies[0];
  if (value.devices.length) body.replaceChildren(...value.devices.flatMap((device) => row(device, value.now)));
  else {
    const none = value.summary.devices ? "No device is as asked." : ["There is no device yet: ", node("code", {}, "andon enroll NAME"), " makes one."];
    body.replaceChildren(node("tr", {}, node("td", { colspan: COLUMNS.length, class: "soft" }, none)));
  }
  const last = Math.min(value.total, value.offset + value.devices.length);
  const before = button("earlier", false, () => choose({ offset: Math.max(0, offset() - PAGE) || "" }, { stay: true }));
  const after = button("later", false, () => choose({ offset: offset() + PAGE }, { stay: true }));
  before.disabled = value.offset === 0;
  after.disabled = last >= value.total;
  for (const each of [before, after]) each.removeAttribute("aria-pressed");
  at("pages").replaceChildren(before, node("span", {}, value.total ? `${number(value.offset + 1)} to ${number(last)} of ${number(value.total)}` : "none"), after);
}

function filters() {
  const parts = KEYS.filter((key) => key !== "search" && chosen.get(key)).map((key) => button(`${key}: ${chosen.get(key)} ✕`, true, () => choose(key === "site" ? { site: "", station: "" } : { [key]: "" }), { class: "chip plain", "aria-label": `no longer only ${key} ${chosen.get(key)}` }));
  at("chosen").replaceChildren(...parts);
}

function silences(value) {
  const list = value.silences.map((alarm) =>
    node("li", {}, node("span", { class: alarm.cleared_at ? "soft" : "bad" }, alarm.cleared_at ? "heard again " : "silent "), alarm.device, node("span", { class: "soft" }, ` (${alarm.site}), last heard ${ago(alarm.heard_at, value.now)}${alarm.heard_at ? " ago" : ""}, alarm ${ago(alarm.raised_at, value.now)} ago`)),
  );
  at("silences").replaceChildren(...(list.length ? [node("details", { open: value.open_silences ? "open" : undefined }, node("summary", {}, `Alarms of silence: ${number(value.open_silences)} open`), node("ul", { class: "told" }, list))] : []));
}

async function load() {
  clearTimeout(waiting);
  const asked = new URLSearchParams([...chosen].filter(([key]) => [...KEYS, "sort", "descending", "offset"].includes(key)));
  asked.set("limit", PAGE);
  try {
    const answer = await fetch(`/api/fleet?${asked}`);
    const value = await answer.json();
    if (!answer.ok) throw new Error(value.error);
    shown = value;
    const wrong = Object.entries(value.summary.wrong).map(([what, n]) => `${number(n)} ${what}`).join(", ");
    at("live").textContent = `${plural(value.summary.in_service, "device")} in service${wrong ? `: ${wrong}` : ", nothing wrong"}`;
    at("live").className = wrong ? "bad" : "soft";
    states(value.summary);
    at("kinds").replaceChildren(places(value), counted("engines", "engine", value.summary.engines), counted("newest release", "outcome", value.summary.outcomes), counted("client software", "client", value.summary.clients));
    filters();
    rows(value);
    silences(value);
  } catch (error) {
    at("live").textContent = `${error.message}; trying again`;
    at("live").className = "bad";
  }
  clearTimeout(waiting);
  waiting = setTimeout(load, REFRESH_MS);
}

let typing = null;
at("search").value = chosen.get("search") ?? "";
at("search").addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(() => choose({ search: at("search").value.trim() }), 200);
});
at("find").addEventListener("submit", (event) => {
  event.preventDefault();
  choose({ search: at("search").value.trim() });
});
await load();
