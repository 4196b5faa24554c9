// Who labelled what: sums by person, the record page by page, and taking back what a person said in an interval.
//
// 1. An undo is shown before it is done, and does what was shown: the console refuses it if more answers stand by then.
// 2. Everybody who labels may take back their own answers; those of others need the role approver.

import { answer, questions, send } from "./call.js";
import { node } from "./nodes.js";
import { instant, labelOf } from "./sample_facts.js";
import { imageOf } from "./sample_view.js";
import { t } from "./texts.js";

const $ = (id) => document.getElementById(id);
const PAGE = 60; // rows that the console gives at once
const { person, role } = document.body.dataset;
const may = (who) => who === person || ["approver", "admin"].includes(role);
const local = (at) => {
  const date = new Date(at);
  return new Date(date - date.getTimezoneOffset() * 60000).toISOString().slice(0, 19);
};

export class People {
  constructor({ base, complain, tell, changed }) {
    Object.assign(this, { base, complain, tell, changed });
    this.who = null; // whose record is shown; null: everybody's
    this.rows = [];
    this.question = questions();
    $("days").addEventListener("change", () => this.load());
    $("older").addEventListener("click", () => this.more());
    $("interval").addEventListener("submit", (event) => {
      event.preventDefault();
      this.preview();
    });
  }

  async get(path) {
    return answer(await fetch(`${this.base()}/review/${path}`, { signal: AbortSignal.timeout(15000) }));
  }

  async load() {
    $("preview").hidden = true;
    const wanted = this.question();
    try {
      const persons = await this.get(`people?days=${$("days").value}`);
      if (!wanted()) return;
      this.sums(persons);
      this.rows = [];
      $("record").replaceChildren();
      await this.more();
    } catch (error) {
      if (wanted()) this.complain(t("review.cannot_fetch", { why: error.message }));
    }
  }

  sums(persons) {
    const heads = [t("review.person"), t("review.labels"), t("review.what"), t("label.cannot_tell"), t("label.skip"), t("review.served"), t("review.undone"), t("review.last")];
    const rows = persons.map((one) => {
      const name = node("button", { type: "button", class: "plain", "aria-pressed": String(this.who === one.who) }, one.who);
      name.addEventListener("click", () => {
        this.who = this.who === one.who ? null : one.who;
        $("of").value = one.who;
        this.load();
      });
      const what = Object.entries(one.said).map(([label, n]) => `${n} ${label}`).join(", ");
      return node("tr", {}, node("td", {}, name), node("td", {}, String(one.labels)), node("td", { class: "text" }, what), node("td", {}, String(one.cannot_tell)), node("td", {}, String(one.skipped)), node("td", {}, String(one.served)), node("td", {}, String(one.undone)), node("td", {}, instant(one.last)));
    });
    $("persons").replaceChildren(persons.length ? node("table", {}, node("thead", {}, node("tr", {}, heads.map((head) => (head ? node("th", { scope: "col" }, head) : node("td", {}))))), node("tbody", {}, rows)) : node("p", { class: "soft" }, t("review.nobody")));
    const chosen = $("of").value;
    $("of").replaceChildren(...persons.map((one) => node("option", {}, one.who)));
    if (persons.some((one) => one.who === (this.who ?? chosen))) $("of").value = this.who ?? chosen;
    const dates = persons.find((one) => one.who === $("of").value);
    if (dates && !$("since").value) [$("since").value, $("until").value] = [local(dates.first), local(Date.now() + 60000)];
    $("record-title").textContent = this.who ? t("review.record_of", { who: this.who }) : t("review.record");
  }

  async more() {
    const wanted = this.question();
    const before = this.rows.at(-1)?.serial;
    const query = [this.who ? `who=${encodeURIComponent(this.who)}` : "", before ? `before=${before}` : ""].filter(Boolean).join("&");
    try {
      const rows = await this.get(`record?${query}`);
      if (!wanted()) return;
      this.rows.push(...rows);
      $("older").hidden = rows.length < PAGE;
      this.record();
    } catch (error) {
      if (wanted()) this.complain(t("review.cannot_fetch", { why: error.message }));
    }
  }

  record() {
    const rows = this.rows.map((one) => {
      const cell = node("td", { class: "soft" });
      if (one.undone_by) cell.append(t("review.undone_by", { who: one.undone_by, at: instant(one.undone_at) }));
      else if (one.because) cell.append(t("review.with_another"));
      else if (may(one.who)) {
        const button = node("button", { type: "button" }, t("label.undo"));
        button.addEventListener("click", () => this.undoOne(one));
        cell.append(button);
      }
      const image = node("img", { class: "row-frame", src: imageOf(one.sample_id), alt: t("label.frame"), loading: "lazy" });
      const source = one.source === "console" ? "" : one.source === "review" ? t("review.by_review") : one.source;
      return node("tr", { class: one.undone_by ? "undone" : "" }, node("td", {}, node("a", { href: imageOf(one.sample_id), target: "_blank", rel: "noopener" }, image)), node("td", {}, one.who), node("td", {}, node("b", { class: "said" }, labelOf(one.classes, one.kind))), node("td", {}, instant(one.at)), node("td", { class: "soft" }, source), cell);
    });
    const heads = [t("label.frame"), t("review.person"), t("review.what"), t("review.when"), t("review.where_said"), ""];
    $("record").replaceChildren(rows.length ? node("table", {}, node("thead", {}, node("tr", {}, heads.map((head) => (head ? node("th", { scope: "col" }, head) : node("td", {}))))), node("tbody", {}, rows)) : node("p", { class: "soft" }, t("review.nobody")));
  }

  async undoOne(one) {
    try {
      await answer(await send("/api/undo", { event_id: crypto.randomUUID(), target: one.event_id }));
      this.tell(t("review.took_back", { n: 1 }));
      this.changed();
      await this.load();
    } catch (error) {
      this.complain(error.message);
    }
  }

  async preview() {
    const wanted = { of: $("of").value, since: new Date($("since").value).toISOString(), until: new Date($("until").value).toISOString() };
    this.complain("");
    try {
      const found = await answer(await send(`${this.base()}/review/preview`, wanted));
      $("preview").hidden = false;
      if (!found.answers) return $("preview").replaceChildren(node("p", {}, t("review.preview_none")));
      const what = Object.entries(found.said).map(([label, n]) => `${n} ${labelOf([label], label)}`).join(", ");
      const button = node("button", { type: "button", class: "grave" }, t("review.take_back", { n: found.answers, who: wanted.of }));
      button.addEventListener("click", () => this.undo(wanted, found.answers, button));
      $("preview").replaceChildren(
        node("p", {}, node("b", {}, t("review.preview_answers", { n: found.answers, who: wanted.of })), ` ${what}. ${t("review.preview_span", { first: instant(found.first), last: instant(found.last) })}`),
        node("p", {}, t("review.preview_unlabelled", { n: found.unlabelled }), found.others ? ` ${t("review.preview_others", { n: found.others })}` : "", found.learned ? ` ${t("review.preview_learned", { n: found.learned })}` : ""),
        node("div", { class: "thumbs" }, found.newest.map((one) => node("img", { src: imageOf(one.sample_id), alt: labelOf(one.classes), title: labelOf(one.classes), loading: "lazy" }))),
        may(wanted.of) ? button : node("p", { class: "warn" }, t("review.needs_approver")),
      );
      button.focus();
    } catch (error) {
      $("preview").hidden = true;
      this.complain(error.message);
    }
  }

  async undo(wanted, expected, button) {
    button.disabled = true;
    try {
      const { undone } = await answer(await send(`${this.base()}/review/undo`, { ...wanted, expected, event_id: crypto.randomUUID() }));
      this.changed();
      await this.load();
      this.tell(t("review.took_back", { n: undone }));
    } catch (error) {
      this.complain(error.message);
      button.disabled = false;
    }
  }
}
