// What every page has: signing out, and the language, which is remembered for the person.

import { send } from "./call.js";

document.getElementById("sign-out")?.addEventListener("click", async () => {
  await send("/api/sign-out", {}).catch(() => {});
  location.assign("/login");
});

if (document.body.dataset.person)
  for (const link of document.querySelectorAll("[data-language]"))
    link.addEventListener("click", async (event) => {
      event.preventDefault();
      await send("/api/me/language", { language: link.dataset.language });
      location.reload();
    });
