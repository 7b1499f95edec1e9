// Passkeys: a form with data-passkey asks the browser for one, and sends what it says.
(() => {
  "use strict";

  const failed = "The passkey did not work. Try again, or use another way.";

  async function ask(form) {
    const kind = form.dataset.passkey;
    if (kind === "create") {
      const options = JSON.parse(form.dataset.options);
      const chosen = options.publicKey.authenticatorSelection;
      const passwordless = form.elements.passwordless?.checked ?? false;
      chosen.residentKey = passwordless ? "required" : "discouraged";
      chosen.requireResidentKey = passwordless;
      if (passwordless) chosen.userVerification = "required";
      return window.webauthnJSON.create(options);
    }
    if (kind === "use") return window.webauthnJSON.get(JSON.parse(form.dataset.options));
    const answer = await fetch(form.action, { headers: { Accept: "application/json" } });
    return window.webauthnJSON.get((await answer.json()).request_options);
  }

  for (const form of document.querySelectorAll("[data-passkey]")) {
    if (!window.PublicKeyCredential) continue;
    form.hidden = false;
    form.querySelector("button").addEventListener("click", async () => {
      const words = form.querySelector("[role=alert]");
      words.textContent = "";
      try {
        form.elements.credential.value = JSON.stringify(await ask(form));
        form.submit();
      } catch {
        words.textContent = failed;
      }
    });
  }
})();
