// What every page has: signing out, and the language, which is remembered for the person.

import { answer, send } from "./call.js";

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
