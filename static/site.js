// What the pages cannot do by HTML and htmx alone. Every page works without it.
(() => {
  "use strict";

  // --- The time zone, so that the server writes times as this person's clock shows them ----------
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  if (zone && !document.cookie.split("; ").includes(`time_zone=${zone}`)) {
    document.cookie = `time_zone=${zone}; path=/; max-age=31536000; samesite=lax`;
  }

  // --- Parts that ask again by themselves --------------------------------------------------------
  // A page that nobody looks at does not ask; it does at once when it is looked at again.
  document.addEventListener("htmx:beforeRequest", (event) => {
    if (document.hidden && event.target.hasAttribute("data-poll")) event.preventDefault();
  });
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) return;
    for (const part of document.querySelectorAll("[data-poll]")) htmx.trigger(part, "look");
  });

  // Signed out meanwhile, or the job was deleted: the page as a whole says so. Something typed in
  // is not thrown away for that.
  document.addEventListener("htmx:responseError", (event) => {
    const { requestConfig, xhr } = event.detail;
    if (requestConfig.verb === "get") {
      if (xhr.status === 403 || xhr.status === 404) location.reload();
    } else if (xhr.status >= 500) {
      notSaved(xhr.responseText);
    } else {
      notSaved("Not saved. You may have been signed out: copy your text, then reload this page.");
    }
  });
  document.addEventListener("htmx:sendError", (event) => {
    if (event.detail.requestConfig.verb !== "get") {
      notSaved("Not saved: the site cannot be reached. It is tried again when you go on typing.");
    }
  });

  function notSaved(words) {
    const saved = document.getElementById("saved");
    if (saved) saved.textContent = words;
    const file = part("file-error");
    if (file) {
      part("upload-progress").hidden = true;
      file.textContent = words;
    }
  }

  // Say what has changed to those who do not see it, and only when it has.
  let announced = document.querySelector("[data-announce]")?.textContent;
  document.addEventListener("htmx:afterSettle", () => {
    const words = document.querySelector("[data-announce]")?.textContent;
    if (!words || words === announced) return;
    announced = words;
    document.getElementById("announcer").textContent = words;
  });

  // --- Clicks ------------------------------------------------------------------------------------
  document.addEventListener("click", (event) => {
    const insert = event.target.closest("[data-insert], [data-fill]");
    if (insert) {
      const field = document.getElementById(insert.dataset.into);
      if (insert.dataset.fill) {
        field.value = insert.dataset.fill;
        if (insert.dataset.labels) {
          field.form.elements.labels.value = insert.dataset.labels;
          field.form.querySelector("[name=answer_kind][value=labels]").checked = true;
        }
      } else {
        field.setRangeText(insert.dataset.insert, field.selectionStart, field.selectionEnd, "end");
      }
      field.focus();
      field.dispatchEvent(new Event("input", { bubbles: true }));
    }
    const add = event.target.closest("[data-add-row]");
    if (add) {
      const rows = document.getElementById(add.dataset.addRow);
      const row = rows.lastElementChild.cloneNode(true);
      for (const input of row.querySelectorAll("input, textarea")) input.value = "";
      for (const select of row.querySelectorAll("select")) select.selectedIndex = 0;
      rows.append(row);
      row.querySelector("input").focus();
    }
    const remove = event.target.closest("[data-remove-row]");
    if (remove) {
      const row = remove.parentElement;
      const { form } = remove;
      const next = row.nextElementSibling || row.previousElementSibling;
      if (next) row.remove();
      for (const input of row.querySelectorAll("input, textarea")) input.value = "";
      (next || row).querySelector("input").focus();
      form.dispatchEvent(new Event("input"));
    }
    for (const menu of document.querySelectorAll("details.menu[open]")) {
      if (!menu.contains(event.target)) menu.open = false;
    }
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    for (const menu of document.querySelectorAll("details.menu[open]")) {
      menu.open = false;
      menu.querySelector("summary").focus();
    }
  });

  // --- The recipe saves itself a moment after the last key; nothing else may overtake it ----------
  const recipe = document.getElementById("recipe");
  let unsaved = 0; // counts what was typed since
  if (recipe) {
    recipe.addEventListener("input", () => { unsaved += 1; });
    document.addEventListener("htmx:beforeRequest", (event) => {
      if (event.detail.requestConfig.path === recipe.getAttribute("action")) {
        event.detail.xhr.typed = unsaved;
      }
    });
    document.addEventListener("htmx:afterOnLoad", (event) => {
      if (event.detail.xhr.typed === unsaved) unsaved = 0;
    });
    // Trying rows, taking advice and the like are about what is written now: save it first.
    document.addEventListener("submit", (event) => {
      if (!unsaved || event.target === recipe) return;
      event.preventDefault();
      event.stopImmediatePropagation();
      const { target, submitter } = event;
      fetch(recipe.action, {
        method: "POST",
        body: new FormData(recipe),
        headers: { "HX-Request": "true" },
      }).then((answer) => {
        if (!answer.ok) throw new Error(answer.statusText);
        unsaved = 0;
        target.requestSubmit(submitter);
      }).catch(() => notSaved("Not saved: the site cannot be reached. Nothing was done."));
    }, true);
    window.addEventListener("pagehide", () => {
      if (unsaved) navigator.sendBeacon(recipe.action, new FormData(recipe));
    });
    recipe.addEventListener("submit", () => { unsaved = 0; });
  }

  // A choice that takes effect at once.
  document.addEventListener("change", (event) => {
    if (event.target.matches("[data-submit]")) event.target.form.requestSubmit();
  });

  // Examples are for an empty prompt only: they would replace what was written.
  const prompt = document.getElementById("id_prompt");
  const starters = document.querySelector("[data-starters]");
  if (prompt && starters) {
    const show = () => {
      starters.hidden = prompt.value.trim() !== "" && !starters.contains(document.activeElement);
    };
    prompt.addEventListener("input", show);
    show();
  }

  // The second of two quick clicks goes nowhere. (The server would not send twice either.)
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (!form.matches("[data-once]")) return;
    if (form.dataset.sent) event.preventDefault();
    form.dataset.sent = "yes";
  });
  window.addEventListener("pageshow", () => {
    for (const form of document.querySelectorAll("[data-once]")) delete form.dataset.sent;
  });

  // --- The upload --------------------------------------------------------------------------------
  function part(name) {
    return document.querySelector(`#upload [data-${name}]`);
  }

  function bytes(count) {
    if (count < 1000) return `${count} bytes`;
    const units = ["KB", "MB", "GB"];
    let size = count / 1000;
    let unit = 0;
    while (size >= 1000 && unit < units.length - 1) {
      size /= 1000;
      unit += 1;
    }
    return `${size.toFixed(1)} ${units[unit]}`;
  }

  // What is wrong with the chosen file, as far as the browser can tell.
  function check() {
    const form = document.getElementById("upload");
    const file = document.getElementById("id_file").files[0];
    let error = "";
    if (!file) {
      error = "Choose a file first.";
    } else if (file.size === 0) {
      error = "This file is empty. Check that you chose the right one and that it was saved.";
    } else if (file.size > Number(form.dataset.maxBytes)) {
      error =
        `This file is larger than ${form.dataset.maxWords}, the most this site takes. ` +
        "Split it into several files and make a job of each.";
    }
    part("file-error").textContent = error;
    part("dropzone").classList.toggle("is-invalid", error !== "");
    return error === "";
  }

  document.addEventListener("change", (event) => {
    if (event.target.id !== "id_file" || !part("dropzone")) return; // another page has a plain one
    const file = event.target.files[0];
    if (!file) return;
    part("file-name").textContent = file.name;
    part("file-note").textContent = `${bytes(file.size)} · click to choose another`;
    part("dropzone").classList.add("has-file");
    check();
  });
  for (const type of ["dragenter", "dragover", "dragleave", "drop"]) {
    document.addEventListener(type, (event) => {
      const zone = part("dropzone");
      if (!zone || !event.dataTransfer?.types.includes("Files")) return;
      event.preventDefault(); // the browser would else leave the page to show the file
      const over = zone.contains(event.target) && (type === "dragenter" || type === "dragover");
      zone.classList.toggle("is-over", over);
      if (type === "drop" && event.dataTransfer.files.length) {
        const input = document.getElementById("id_file");
        input.files = event.dataTransfer.files;
        input.dispatchEvent(new Event("change", { bubbles: true }));
      }
    });
  }
  document.addEventListener("htmx:beforeRequest", (event) => {
    if (event.target.id !== "upload") return;
    if (!check()) {
      event.preventDefault();
      return;
    }
    part("upload-progress").hidden = false;
  });
  document.addEventListener("htmx:xhr:progress", (event) => {
    const { loaded, total, lengthComputable } = event.detail;
    if (event.target.id !== "upload" || !lengthComputable) return;
    part("upload-progress").querySelector("progress").value = (100 * loaded) / total;
    part("upload-words").textContent =
      loaded < total ? `${bytes(loaded)} of ${bytes(total)} uploaded` : "Uploaded, one moment …";
  });
  document.addEventListener("htmx:sendError", (event) => {
    if (event.target.id !== "upload") return;
    part("upload-progress").hidden = true;
    part("file-error").textContent =
      "The upload was cut off before it was complete. Nothing was kept; try it again.";
  });
})();
