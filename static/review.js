// Reading answers with the keyboard. Every key presses a button or follows a link of the page.
(() => {
  "use strict";

  const MARKS = { y: "good", n: "bad", u: "unread" };

  function rows() {
    return [...document.querySelectorAll("[data-review]")];
  }

  function go(row) {
    if (!row) return;
    row.focus({ preventScroll: true });
    row.scrollIntoView({ block: "nearest" });
  }

  // The one beside `row`; the first when none has the focus. Alone on its page it follows the link.
  function step(row, by) {
    const all = rows();
    if (all.length > 1) {
      go(row ? all[all.indexOf(row) + by] : all[0]);
    } else {
      document.querySelector(by > 0 ? "[rel=next]" : "[rel=prev]")?.click();
    }
  }

  function isUnsaved(note) {
    return note.value !== note.defaultValue;
  }

  // A note that was written and not saved is not lost without a word.
  let saves = false;
  document.addEventListener("submit", () => { saves = true; });
  window.addEventListener("beforeunload", (event) => {
    if (!saves && [...document.querySelectorAll("[data-review] textarea")].some(isUnsaved)) {
      event.preventDefault();
    }
  });

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    const row = document.activeElement.closest("[data-review]");
    if (event.target.closest("input, textarea, select")) {
      if (event.key === "Escape" && row) {
        go(row);
        // In a list it is saved beside what goes on; alone on its page it is saved with the mark.
        if (rows().length > 1 && isUnsaved(event.target)) {
          row.querySelector("[name=mark][value=note]")?.click();
        }
      }
      return;
    }
    const key = event.key.toLowerCase();
    if (key === "j" || key === "k") {
      event.preventDefault();
      step(row, key === "j" ? 1 : -1);
    } else if (row && key === "e") {
      event.preventDefault();
      row.querySelector("textarea")?.focus();
    } else if (row && !event.repeat && MARKS[key]) {
      const button = row.querySelector(`[name=mark][value=${MARKS[key]}]`);
      if (!button) return;
      event.preventDefault();
      button.click();
      // In a list the next one is at hand at once; the mark is being saved meanwhile.
      if (rows().length > 1 && key !== "u") step(row, 1);
    }
  });

  // What has the focus while it is swapped for its new self keeps it.
  let focused = "";
  document.addEventListener("htmx:beforeSwap", (event) => {
    focused = event.target.contains(document.activeElement) ? event.target.id : "";
  });
  document.addEventListener("htmx:afterSettle", () => {
    saves = false;
    if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
    focused = "";
  });
})();
