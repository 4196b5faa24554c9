// What every page has: signing out, the language, which is remembered for the person, and the inspection looked at last.

import { answer, send } from "./call.js";
import "./last_inspection.js";

document.getElementById("sign-out")?.addEventListener("click", async () => {
  const { go } = await send("/api/sign-out", {}).then(answer).catch(() => ({}));
  location.assign(go ?? "/login"); // a provider's own session may have to end, too
});

if (document.body.dataset.person)
  for (const link of document.querySelectorAll("[data-language]"))
    link.addEventListener("click", async (event) => {
      event.preventDefault();
      await send("/api/me/language", { language: link.dataset.language });
      location.reload();
    });
