// The labelling page: one sample at a time, a key a class; or a grid of many.
//
// 1. An answer belongs to the sample that was on the screen when the key went down. While a picture is not there yet, no
//    class can be given: nobody labels what they have not seen.
// 2. The next sample is shown at once; the answer is sent behind it (unsent.js). The pictures ahead are loaded already.
// 3. Undo goes back through the answers of this browser tab, also after a reload.
// 4. With "several", keys choose classes and Enter gives them. A class of kind ok and one of kind defect exclude each other.

import { help, anyOpen, askForClass, askForNote } from "./label_dialogs.js";
import { Progress, Similar } from "./label_beside.js";
import { Grid } from "./label_grid.js";
import { Queue } from "./label_queue.js";
import { describe, labelOf } from "./sample_facts.js";
import { imageOf, percent, SampleView } from "./sample_view.js";
import { t } from "./texts.js";
import { noteOfUnsent, Unsent } from "./unsent.js";

const REMEMBERED = 100; // answers that can be taken back
const THUMBS = 8; // near-duplicates shown small
const NUDGE = 60; // pixels that an arrow key moves a zoomed picture

const $ = (id) => document.getElementById(id);
const page = $("labelling");
const { inspection } = page.dataset;
const who = document.body.dataset.person;
const buttons = [...document.querySelectorAll(".class")];
const kinds = Object.fromEntries(buttons.map((button) => [button.dataset.class, button.dataset.kind]));
const pastKey = `andon-past-${who}-${inspection}`;

let past = JSON.parse(sessionStorage.getItem(pastKey) ?? "[]"); // {items, events, kind, classes}, newest last
let several = false;
let told = 0; // when the last thing that is not a problem was told

const view = new SampleView({
  picture: $("picture"),
  overlay: $("overlay"),
  ready() {
    enable(true);
    page.dataset.ready = "yes";
    view.decode(queue.items.slice(1, 3));
  },
  failed: () => complain(t("label.picture_missing")),
  ahead,
  zoomed: $("zoomed"),
});

const unsent = new Unsent({
  who,
  told: noteOfUnsent($("unsent"), page),
  taken(entry, value) {
    for (const one of [value].flat()) if (one?.meanwhile) tell(t("label.was_first", { who: one.meanwhile.who, said: labelOf(one.meanwhile.classes, one.meanwhile.kind) }));
  },
  refused(entry, text) {
    complain(text);
    if (!entry.path.startsWith("/api/labels")) return;
    const ids = (entry.body.samples ?? [entry.body]).map((one) => one.event_id);
    const back = past.filter((p) => p.events.some((event) => ids.includes(event)));
    for (const one of back) {
      if (one.kind !== "skip") progress.add(-one.items.length);
      one.items.forEach((item) => queue.answered.delete(item.sample_id));
    }
    remember(past.filter((p) => !back.includes(p)));
    queue.refill();
  },
});

const queue = new Queue(inspection, {
  unsent: () => page.dataset.unsent | 0,
  changed: () => show(),
  counted: count,
  fresh: (items) => items.forEach((item) => view.preload(item)),
  lost(item, by, settled) {
    if (item === view.shown) tell(settled ? t("label.lost_settled", { who: by }) : t("label.lost_shown", { who: by }));
  },
  trouble: complain,
});
const similar = new Similar(queue.at);
const progress = new Progress(queue.at, `andon-done-${who}-${inspection}`);
const grid = new Grid(queue, {
  held: (items) => (queue.held = items),
  closed: () => {
    page.classList.remove("many");
    show();
  },
  trouble: complain,
});
past.forEach((p) => p.items.forEach((item) => queue.answered.add(item.sample_id)));

function complain(text) {
  $("problem").hidden = !text;
  $("problem").textContent = text;
}

function tell(text) {
  $("told").hidden = !text;
  $("told").textContent = text;
  told = Date.now();
}

function enable(on) {
  buttons.forEach((button) => (button.disabled = !on));
}

function show(given = []) {
  const item = queue.first;
  page.dataset.sample = item?.sample_id ?? "";
  delete page.dataset.ready;
  enable(false);
  choose([]);
  for (const button of buttons) {
    const opinion = item?.opinion.find((o) => o.name === button.dataset.class);
    button.classList.toggle("given", given.includes(button.dataset.class));
    button.querySelector("i").textContent = opinion ? percent(opinion.probability) : "";
    button.querySelector(".p").style.width = `${100 * (opinion?.probability ?? 0)}%`;
  }
  $("nothing").hidden = Boolean(item);
  $("nothing").textContent = item ? "" : progress.done ? t("label.all_done") : t("label.nothing_waits");
  if (Date.now() - told > 4000) tell("");
  view.show(item);
  describe(item, { facts: $("opinion"), where: $("where"), verdict: $("verdict") });
  alike(item);
  similar.show(item, kinds);
  similar.ahead(queue.items.slice(1));
  count();
}

function alike(item) {
  const others = item?.like ?? [];
  $("like").hidden = !others.length;
  $("also").checked = true;
  $("alike").textContent = t("label.also_for", { n: others.length });
  $("thumbs").replaceChildren(...others.slice(0, THUMBS).map((id) => Object.assign(new Image(), { src: imageOf(id), alt: "" })));
}

// How many more can be labelled without the network.
function ahead() {
  page.dataset.ahead = queue.items.slice(1).filter((item) => view.has(item)).length;
}

function count() {
  ahead();
  progress.show(Math.max(queue.waiting, queue.items.length));
  const people = Object.keys(queue.here);
  $("here").textContent = people.length ? t("label.also_here", { n: people.length, who: people.slice(0, 3).join(", ") }) : "";
  const over = queue.first && Date.now() > queue.until;
  $("lease").classList.toggle("warn", Boolean(over));
  $("lease").textContent = !queue.first ? "" : over ? t("label.lease_over") : t("label.lease_until", { time: new Date(queue.until).toLocaleTimeString(document.documentElement.lang, { hour: "2-digit", minute: "2-digit" }) });
}

const chosen = () => buttons.filter((button) => button.getAttribute("aria-pressed") === "true").map((button) => button.dataset.class);

// Rule 4.
function choose(names, newest) {
  const kept = names.filter((name) => newest === undefined || kinds[name] === kinds[newest]);
  for (const button of buttons) several ? button.setAttribute("aria-pressed", String(kept.includes(button.dataset.class))) : button.removeAttribute("aria-pressed");
  $("give").hidden = !several;
  $("give").disabled = !kept.length;
}

function say(name) {
  if (!several) return grid.open ? answerMany([name]) : answer("label", [name]);
  const now = chosen();
  choose(now.includes(name) ? now.filter((other) => other !== name) : [...now, name], name);
}

function give() {
  const names = chosen();
  if (!several || !names.length) return;
  if (grid.open) answerMany(names);
  else answer("label", names);
}

function one(item, also) {
  return { sample_id: item.sample_id, event_id: crypto.randomUUID(), after: item.seen, also };
}

function answer(kind, classes) {
  const item = queue.first;
  if (!item || grid.open || (kind === "label" && page.dataset.ready !== "yes")) return;
  const also = kind === "label" && $("also").checked ? (item.like ?? []) : [];
  const said = one(item, also);
  done([item], [said.event_id], kind, classes, also);
  show();
  unsent.put("/api/labels", { ...said, kind, classes });
}

function answerMany(classes) {
  const items = grid.chosen;
  if (!items.length) return complain(t("label.grid_none_chosen"));
  if (!grid.ready) return complain(t("label.picture_missing"));
  const { of } = grid;
  if (of && !items.includes(grid.tiles[0].item)) return complain(t("label.grid_needs_first"));
  const said = of ? [one(of, items.slice(1).map((item) => item.sample_id))] : items.map((item) => one(item, item.like));
  done(of ? [of] : items, said.map((s) => s.event_id), "label", classes, said.flatMap((s) => s.also));
  grid.close();
  if (of) unsent.put("/api/labels", { ...said[0], kind: "label", classes });
  else unsent.put("/api/labels/batch", { classes, samples: said });
}

function done(items, events, kind, classes, also) {
  queue.take(items.map((item) => item.sample_id));
  also.forEach((id) => queue.answered.add(id));
  remember([...past, { items, events, kind, classes }]);
  if (kind !== "skip") progress.add(items.length);
  complain("");
}

function undo() {
  const last = past.at(-1);
  if (!last) return complain(t("label.nothing_to_undo"));
  remember(past.slice(0, -1));
  if (last.kind !== "skip") progress.add(-last.items.length);
  grid.close();
  queue.back(last.items);
  complain("");
  show(last.classes);
  const event_id = crypto.randomUUID();
  unsent.put("/api/undo", last.events.length > 1 ? { event_id, targets: last.events } : { event_id, target: last.events[0] });
}

function remember(answers) {
  past = answers.slice(-REMEMBERED);
  sessionStorage.setItem(pastKey, JSON.stringify(past));
}

function flag() {
  const item = queue.first;
  if (!item || grid.open) return;
  askForNote((note) => {
    unsent.put("/api/flags", { sample_id: item.sample_id, event_id: crypto.randomUUID(), note });
    tell(t("label.flag_kept", { note }));
  });
}

function many() {
  if (grid.open) return grid.close();
  page.classList.add("many");
  enable(true);
  grid.show(queue.first);
}

const press = (command, on) => document.querySelector(`[data-command="${command}"]`).setAttribute("aria-pressed", String(on));

const commands = {
  undo,
  flag,
  help,
  grid: many,
  skip: () => answer("skip", []),
  cannot_tell: () => answer("cannot_tell", []),
  also: () => ($("also").checked = !$("also").checked),
  overlay: () => press("overlay", view.toggleOverlay()),
  several() {
    several = !several;
    press("several", several);
    choose([]);
  },
  new_class: () => askForClass(queue.at, () => location.reload()),
  closer: () => view.zoom.closer(),
  wider: () => view.zoom.wider(),
  fit: () => view.zoom.reset(),
};
const keys = { u: "undo", s: "skip", c: "cannot_tell", f: "flag", g: "grid", m: "several", n: "new_class", a: "also", " ": "overlay", "+": "closer", "=": "closer", "-": "wider", ".": "fit", "?": "help" };
const arrows = { ArrowLeft: [NUDGE, 0], ArrowRight: [-NUDGE, 0], ArrowUp: [0, NUDGE], ArrowDown: [0, -NUDGE] };

document.addEventListener("keydown", (event) => {
  if (anyOpen() || event.ctrlKey || event.metaKey || event.altKey || event.repeat && !arrows[event.key] || event.target.closest?.("input, textarea, select")) return;
  const key = event.key.toLowerCase();
  const onButton = event.target.closest?.("button, a, summary");
  if ((key === "enter" || key === " ") && onButton) return; // what has the focus is meant
  const button = buttons.find((b) => b.dataset.key === key);
  if (arrows[event.key]) {
    if (grid.open) grid.move(event.key);
    else if (!view.zoom.pan(...arrows[event.key])) return;
  } else if (key === "escape" && grid.open) grid.close();
  else if (key === "enter" && several) give();
  else if (button && !button.disabled) say(button.dataset.class);
  else if (!button && keys[key] === "also" && grid.open) grid.all();
  else if (!button && keys[key]) commands[keys[key]]();
  else return;
  event.preventDefault();
});
// A click leaves the focus on its button; a later space must still mean the overlay, so the button gives it up.
const clicked = (button, act) =>
  button.addEventListener("click", (event) => {
    if (event.detail) button.blur(); // of a pointer; who goes by keyboard keeps their place
    act();
  });
buttons.forEach((button) => clicked(button, () => say(button.dataset.class)));
document.querySelectorAll("[data-command]").forEach((button) => clicked(button, commands[button.dataset.command]));
clicked($("give"), give);
$("also").addEventListener("change", () => $("also").blur()); // a later space must still mean the overlay
setInterval(count, 10000); // the lease and the people

unsent.send();
queue.refill();
