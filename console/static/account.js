// A person's new password.

import { answer, send } from "./call.js";
import { t } from "./texts.js";

const at = (id) => document.getElementById(id);

at("password-form")?.addEventListener("submit", async (event) => {
  event.preventDefault();
  at("problem").textContent = at("done").textContent = "";
  if (at("new").value !== at("again").value) return (at("problem").textContent = t("account.differ"));
  try {
    await answer(await send("/api/me/password", { old: at("old")?.value ?? "", new: at("new").value }));
    at("password-form").reset();
    at("done").textContent = t("account.saved");
    if (at("password-form").dataset.next) location.assign(at("password-form").dataset.next);
  } catch (error) {
    at("problem").textContent = error instanceof TypeError ? t("base.no_answer") : error.message;
  }
});
at("password-form")?.querySelector("[type=submit]").removeAttribute("disabled"); // until now a form would be sent by the browser itself
