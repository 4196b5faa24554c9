// The dialogs of the labelling page: a flag with its note, a new class, the keys.

import { answer, send } from "./call.js";
import { t } from "./texts.js";

const $ = (id) => document.getElementById(id);

export const anyOpen = () => Boolean(document.querySelector("dialog[open]"));

for (const button of document.querySelectorAll("dialog [data-close]")) button.addEventListener("click", () => button.closest("dialog").close());

export function help() {
  $("keys").showModal();
}

// flagged(note) hears what the person wrote.
export function askForNote(flagged) {
  const dialog = $("flagging");
  $("note").value = "";
  dialog.querySelector("form").onsubmit = (event) => {
    event.preventDefault();
    const note = $("note").value.trim();
    if (!note) return $("note").focus();
    dialog.close();
    flagged(note);
  };
  dialog.showModal();
  $("note").focus();
}

export function askForClass(at, made) {
  const dialog = $("new-class");
  const problem = $("new-class-problem");
  problem.hidden = true;
  dialog.querySelector("form").onsubmit = async (event) => {
    event.preventDefault();
    const name = $("class-name").value.trim();
    const kind = dialog.querySelector("[name=kind]:checked")?.value;
    if (!name || !kind) return;
    try {
      await answer(await send(`${at}/classes`, { name, kind }, { signal: AbortSignal.timeout(10000) }));
      dialog.close();
      made(name);
    } catch (error) {
      problem.textContent = error instanceof TypeError ? t("label.console_away") : error.message;
      problem.hidden = false;
    }
  };
  dialog.showModal();
  $("class-name").focus();
}
