// The page of the fleet: what /api/fleet tells, a page of the table at a time. All of it is put in as text. What is chosen is in the address, so that a view can be sent to somebody.

import { questions } from "./call.js";
import { decimal, english, node, number } from "./nodes.js";
import { t } from "./texts.js";

const at = (id) => document.getElementById(id);
const REFRESH_MS = 15000, PAGE = 50, SHOWN = 8;
const KEYS = ["state", "site", "station", "engine", "client", "outcome", "inspection", "search"];
const STATES = { silent: "bad", degraded: "warn", unheard: "warn", ok: "good", off: "soft", revoked: "soft" };
const OUTCOMES = { quarantined: "bad", failed: "warn", trial: "", probation: "", confirmed: "good", none: "soft" };
const COLUMNS = ["device", "site", "station", "state", "heard", "engine", "outcome", "client", "spool", "latency"];
const LARGEST_FIRST = ["heard", "spool", "latency", "frames"];

const chosen = new URLSearchParams(location.search);
let open = "", shown = null, waiting = null;
const question = questions();

// the words of what a device or the address says; what is asked of the API stays as it is
const stateWord = (state) => (Object.hasOwn(STATES, state) ? t("fleet.state_" + state) : state);
const outcomeWord = (outcome) => (Object.hasOwn(OUTCOMES, outcome) ? t("fleet.outcome_" + outcome) : outcome);
const word = (key, value) => (key === "state" ? stateWord(value) : key === "outcome" ? outcomeWord(value) : value);

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
  if (!text) return t("fleet.never");
  const seconds = Math.max(0, (Date.parse(now) - Date.parse(text)) / 1000);
  for (const [limit, unit, name] of [[120, 1, "s"], [7200, 60, "min"], [172800, 3600, "h"]]) if (seconds < limit) return `${Math.floor(seconds / unit)} ${name}`;
  return `${Math.floor(seconds / 86400)} d`;
}

const bytes = (n) => (n >= 1e9 ? `${decimal(n / 1e9, 1)} GB` : n >= 1e6 ? `${decimal(n / 1e6, 0)} MB` : `${decimal(n / 1e3, 0)} kB`);

function button(label, pressed, does, attributes = {}) {
  const made = node("button", { type: "button", "aria-pressed": String(pressed), ...attributes }, label);
  made.addEventListener("click", does);
  return made;
}

function states(summary) {
  at("states").replaceChildren(
    ...Object.entries(summary.states).map(([state, count]) => {
      const on = chosen.get("state") === state;
      return button([node("b", { class: count ? STATES[state] : "soft" }, number(count)), node("span", {}, stateWord(state))], on, () => choose({ state: on ? "" : state }));
    }),
  );
}

function counted(title, key, counts) {
  const entries = Object.entries(counts);
  const list = entries.slice(0, SHOWN).map(([value, count]) => {
    const on = chosen.get(key) === value;
    const name = value ? word(key, value) : t("fleet.not_said");
    return node("li", {}, value ? button(name, on, () => choose({ [key]: on ? "" : value })) : node("span", { class: "soft" }, name), node("span", { class: OUTCOMES[value] ?? "" }, number(count)));
  });
  return node("section", {}, node("h2", {}, title), node("ul", {}, list), entries.length > SHOWN ? node("p", { class: "soft" }, t("fleet.and_more", { n: String(entries.length - SHOWN) })) : null);
}

// the sites, or of a chosen site its stations: the worst first
function places(value) {
  const key = chosen.get("site") ? "station" : "site";
  const worst = Object.entries(key === "site" ? value.summary.sites : value.stations).sort(([a, x], [b, y]) => (y.silent ?? 0) + (y.degraded ?? 0) - (x.silent ?? 0) - (x.degraded ?? 0) || (a < b ? -1 : 1));
  const list = worst.slice(0, SHOWN).map(([place, of]) => {
    const on = chosen.get(key) === place;
    const told = Object.entries(of).filter(([, n]) => n).map(([state, n]) => node("span", { class: STATES[state] }, `${number(n)} ${stateWord(state)}`));
    return node("li", {}, button(place, on, () => choose({ [key]: on ? "" : place })), node("span", { class: "told" }, told));
  });
  const title = key === "site" ? t("fleet.sites", { n: worst.length }) : t("fleet.stations", { n: worst.length, site: chosen.get("site") });
  return node("section", {}, node("h2", {}, title), node("ul", {}, list), worst.length > SHOWN ? node("p", { class: "soft" }, t("fleet.no_worse", { n: String(worst.length - SHOWN) })) : null);
}

function head() {
  const cells = COLUMNS.map((key) => {
    const on = sort() === key;
    const turned = on ? !descending() : LARGEST_FIRST.includes(key);
    const made = node("th", { scope: "col", "aria-sort": on ? (descending() ? "descending" : "ascending") : "none" });
    made.append(button(`${t("fleet.col_" + key)}${on ? (descending() ? " ↓" : " ↑") : ""}`, on, () => choose({ sort: key, descending: turned ? "true" : "" })));
    return made;
  });
  at("devices").tHead.replaceChildren(node("tr", {}, cells));
}

function facts(entries) {
  return node("dl", { class: "facts" }, entries.filter(([, value]) => value !== null && value !== "").flatMap(([name, value]) => [node("dt", {}, name), node("dd", {}, value)]));
}

function detail(value) {
  const beat = value.heartbeat;
  if (!beat) return [node("p", {}, value.revoked_at ? t("fleet.revoked_because", { reason: value.revoked_reason || t("fleet.no_reason") }) : t("fleet.nothing_heard"))];
  const minutes = Math.round(beat.interval_seconds / 60);
  const often = beat.interval_seconds ? ` ${minutes ? t("fleet.every", { minutes: String(minutes) }) : t("fleet.every_few")}` : "";
  return [
    beat.problems.length ? node("ul", { class: "told" }, beat.problems.map((problem) => node("li", { lang: "en" }, problem))) : null,
    facts([
      [t("fleet.newest_release"), [`${beat.rollout.engine_id || t("fleet.no_engine")}: ${outcomeWord(beat.rollout.outcome)}`, ...(beat.rollout.reason ? [", ", english(beat.rollout.reason)] : [])]],
      [t("fleet.engine"), t("fleet.in_slot", { engine: beat.engine_id, slot: beat.slot, digest: beat.engine_sha256.slice(0, 16) })],
      [t("fleet.in_quarantine"), beat.quarantined.map((q) => `${q.engine_sha256.slice(0, 12)}…: ${q.reason}`).join("; ")],
      [t("fleet.since_start"), t("fleet.frames_lost", { frames: beat.frames, lost: beat.requests_lost })],
      [t("fleet.classes"), Object.entries(beat.class_counts).map(([name, n]) => `${name} ${number(n)}`).join(", ")],
      [t("fleet.latency"), beat.latency_ms_p99 ? `${decimal(beat.latency_ms_p50, 1)} ms, p99 ${decimal(beat.latency_ms_p99, 1)} ms` : ""],
      [t("fleet.spool"), beat.spool_limit ? t("fleet.to_be_sent", { used: bytes(beat.spool_bytes), limit: bytes(beat.spool_limit), n: beat.spool_windows }) : ""],
      [t("fleet.machine"), beat.hardware ?? ""],
      [t("fleet.channel"), value.inspections.map((i) => `${i.name}: ${i.channel}`).join(", ")],
      [t("fleet.heartbeat"), `${t("fleet.received", { sequence: String(beat.sequence), at: value.received_at.slice(0, 19).replace("T", " ") })}${often}`],
      [t("fleet.state_revoked"), value.revoked_at ? value.revoked_reason || t("fleet.no_reason") : null],
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
  const spool = device.spool_bytes ? `${bytes(device.spool_bytes)}${device.spool_share ? `, ${decimal(100 * device.spool_share, 0)} %` : ""}` : "";
  const made = [
    node(
      "tr",
      {},
      node("th", { scope: "row" }, toggle, device.problem && !is ? node("div", { class: "soft problem-line", lang: "en" }, device.problem) : null),
      node("td", {}, device.site),
      node("td", {}, device.station),
      node("td", {}, node("span", { class: STATES[device.state] }, stateWord(device.state))),
      node("td", { title: device.heard_at ?? "" }, ago(device.heard_at, now)),
      node("td", {}, device.engine_id),
      node("td", {}, node("span", { class: OUTCOMES[device.outcome] }, outcomeWord(device.outcome))),
      node("td", {}, device.client_version),
      node("td", { class: device.spool_share > 0.8 ? "warn" : "" }, spool),
      node("td", {}, device.latency_ms_p99 ? decimal(device.latency_ms_p99, 1) : ""),
    ),
  ];
  if (is) {
    const into = node("td", { colspan: COLUMNS.length }, t("fleet.loading"));
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
    const none = value.summary.devices ? t("fleet.none_as_asked") : [`${t("fleet.no_device")} `, node("code", {}, "andon enroll NAME"), ` ${t("fleet.makes_one")}`];
    body.replaceChildren(node("tr", {}, node("td", { colspan: COLUMNS.length, class: "soft" }, none)));
  }
  const last = Math.min(value.total, value.offset + value.devices.length);
  const before = button(t("fleet.earlier"), false, () => choose({ offset: Math.max(0, offset() - PAGE) || "" }, { stay: true }));
  const after = button(t("fleet.later"), false, () => choose({ offset: offset() + PAGE }, { stay: true }));
  before.disabled = value.offset === 0;
  after.disabled = last >= value.total;
  for (const each of [before, after]) each.removeAttribute("aria-pressed");
  at("pages").replaceChildren(before, node("span", {}, value.total ? t("fleet.shown", { first: value.offset + 1, last, total: value.total }) : t("fleet.none")), after);
}

function filters() {
  const parts = KEYS.filter((key) => key !== "search" && chosen.get(key)).map((key) => {
    const only = { key: t("fleet.key_" + key), value: word(key, chosen.get(key)) };
    return button(t("fleet.only", only), true, () => choose(key === "site" ? { site: "", station: "" } : { [key]: "" }), { class: "chip plain", "aria-label": t("fleet.no_longer", only) });
  });
  at("chosen").replaceChildren(...parts);
}

function silences(value) {
  const list = value.silences.map((alarm) => {
    const when = { site: alarm.site, heard: ago(alarm.heard_at, value.now), raised: ago(alarm.raised_at, value.now) };
    const told = alarm.heard_at ? t("fleet.silence", when) : t("fleet.silence_never", when);
    return node("li", {}, node("span", { class: alarm.cleared_at ? "soft" : "bad" }, `${alarm.cleared_at ? t("fleet.heard_again") : t("fleet.state_silent")} `), alarm.device, node("span", { class: "soft" }, ` ${told}`));
  });
  at("silences").replaceChildren(...(list.length ? [node("details", { open: value.open_silences ? "open" : undefined }, node("summary", {}, t("fleet.silences", { n: value.open_silences })), node("ul", { class: "told" }, list))] : []));
}

async function load() {
  const wanted = question();
  clearTimeout(waiting);
  const asked = new URLSearchParams([...chosen].filter(([key]) => [...KEYS, "sort", "descending", "offset"].includes(key)));
  asked.set("limit", PAGE);
  try {
    const answer = await fetch(`/api/fleet?${asked}`);
    const value = await answer.json();
    if (!wanted()) return;
    if (!answer.ok) throw new Error(value.error);
    shown = value;
    // each is a state or an outcome
    const wrong = Object.entries(value.summary.wrong).map(([what, n]) => `${number(n)} ${stateWord(outcomeWord(what))}`).join(", ");
    const n = value.summary.in_service;
    at("live").textContent = wrong ? t("fleet.in_service", { n, wrong }) : t("fleet.nothing_wrong", { n });
    at("live").className = wrong ? "bad" : "soft";
    states(value.summary);
    at("kinds").replaceChildren(places(value), counted(t("fleet.engines"), "engine", value.summary.engines), counted(t("fleet.newest_release"), "outcome", value.summary.outcomes), counted(t("fleet.clients"), "client", value.summary.clients));
    filters();
    rows(value);
    silences(value);
  } catch (error) {
    if (!wanted()) return;
    at("live").textContent = t("fleet.again", { problem: error.message });
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
