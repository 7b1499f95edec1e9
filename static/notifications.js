// Show new notifications while a page of this site is open, once the person allowed it by a click.
(() => {
  "use strict";

  if (!("Notification" in window)) return;
  const PAUSE = 30000; // milliseconds
  // For all tabs: the number of the newest notification that one of them has seen.
  const SEEN = "notifications-seen";

  const place = document.querySelector("[data-browser-notifications]");
  function showState() {
    if (!place) return;
    place.hidden = false;
    place.querySelector("button").hidden = Notification.permission !== "default";
    place.querySelector("[data-blocked]").hidden = Notification.permission !== "denied";
    place.querySelector("[data-allowed]").hidden = Notification.permission !== "granted";
  }
  if (place) {
    place.querySelector("button").addEventListener("click", async () => {
      await Notification.requestPermission();
      showState();
      look();
    });
    showState();
  }

  let timer = 0;
  async function look() {
    clearTimeout(timer);
    if (Notification.permission !== "granted") return;
    try {
      const seen = localStorage.getItem(SEEN) || "";
      // As a part that renews itself: it keeps no session alive.
      const answer = await fetch(`/notifications/news/?after=${encodeURIComponent(seen)}`, {
        headers: { "HX-Request": "true" },
      });
      if (answer.status === 403) return; // signed out
      if (answer.ok) {
        const { newest, items } = await answer.json();
        // Another tab may have been faster.
        const isFirst = (localStorage.getItem(SEEN) || "") === seen;
        localStorage.setItem(SEEN, String(newest));
        if (isFirst) items.forEach(show);
      }
    } catch {
      // No connection: the next look finds what came meanwhile.
    }
    timer = setTimeout(look, PAUSE);
  }

  function show({ id, title, body, url }) {
    const shown = new Notification(title, { body, tag: id });
    shown.addEventListener("click", () => {
      window.focus();
      if (url) location.assign(url);
    });
  }

  look();
})();
