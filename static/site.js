// What the pages cannot do by HTML and htmx alone. Every page works without it.
(() => {
  "use strict";

  // --- The time zone, so that the server writes times as this person's clock shows them ----------
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  const isSecure = location.protocol === "https:";
  const cookie = `${isSecure ? "__Host-" : ""}time_zone=${zone}`;
  if (zone && !document.cookie.split("; ").includes(cookie)) {
    document.cookie = `${cookie}; path=/; max-age=31536000; samesite=lax${isSecure ? "; secure" : ""}`;
  }
  // The sign-in says it, too: then the session knows it where this cookie is blocked or short-lived.
  for (const field of document.querySelectorAll("[data-time-zone]")) field.value = zone || "";

  // Most people have not allowed notifications, so their pages do not load what shows them. The page
  // on which one allows them does.
  const { notifications } = document.currentScript.dataset;
  const isThere = document.querySelector("[data-browser-notifications]");
  const isAllowed = "Notification" in window && Notification.permission === "granted";
  if (notifications && isAllowed && !isThere) {
    document.head.append(Object.assign(document.createElement("script"), { src: notifications }));
  }

  // --- Parts that ask again by themselves --------------------------------------------------------
  // A page that nobody looks at does not ask; it does at once when it is looked at again.
  document.addEventListener("htmx:beforeRequest", (event) => {
    if (!event.target.hasAttribute("data-poll")) return;
    // Nor does a list in which something is selected, or a menu is open: that would be lost.
    const busy = event.target.querySelector(".jobs-table :is(input:checked, .menu[open])");
    if (document.hidden || busy) event.preventDefault();
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
    } else if (xhr.status >= 500 || xhr.status === 408 || xhr.status === 413) {
      notSaved(xhr.responseText);
    } else {
      notSaved("Not saved. You may have been signed out: copy your text, then reload this page.");
    }
  });
  document.addEventListener("htmx:sendError", (event) => {
    if (event.detail.requestConfig.verb !== "get") {
      notSaved("Not saved: the site can’t be reached. We try again as you type.");
    }
  });

  function notSaved(words) {
    const saved = document.getElementById("saved");
    if (saved) {
      saved.textContent = words;
      saved.classList.remove("is-saving");
    }
    const file = part("file-error");
    if (file) {
      part("upload-progress").hidden = true;
      file.textContent = words;
    }
  }

  // Say what has changed to those who do not see it, and only when it has.
  function news() {
    const parts = [...document.querySelectorAll("[data-announce]")];
    return new Map(parts.map((one) => [one.id, one.textContent.trim()]));
  }
  let announced = news();
  document.addEventListener("htmx:afterSettle", () => {
    const now = news();
    const fresh = [...now].filter(([id, words]) => words && words !== announced.get(id));
    announced = now;
    if (!fresh.length) return;
    document.getElementById("announcer").textContent = fresh.map(([, words]) => words).join(". ");
  });

  // How far the job of this page is, in the title of its tab, "(45%) reviews", and as a ring in its
  // icon.
  const title = document.title;
  const icon = document.querySelector("link[rel=icon]");
  const plainIcon = icon && icon.href;
  function ring(percent) {
    const circle = '<circle cx="16" cy="16" r="12" fill="none" stroke-width="7"';
    const done = `${circle} stroke="#4f46e5" pathLength="100" stroke-dasharray="${percent} 100" transform="rotate(-90 16 16)"/>`;
    const svg = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32">${circle} stroke="#c7c9d9"/>${done}</svg>`;
    return `data:image/svg+xml,${encodeURIComponent(svg)}`;
  }
  function showProgress() {
    const job = document.querySelector("[data-done]");
    const percent = job && Math.floor((100 * job.dataset.done) / job.dataset.all);
    document.title = job ? `(${percent}%) ${title}` : title;
    const wanted = job ? ring(percent) : plainIcon;
    if (icon && icon.href !== wanted) icon.href = wanted;
  }
  showProgress();
  document.addEventListener("htmx:afterSettle", showProgress);

  // Put `text` where the cursor is as if it were typed, so that it can be undone.
  function type(field, text) {
    field.focus();
    if (!document.execCommand("insertText", false, text)) {
      field.setRangeText(text, field.selectionStart, field.selectionEnd, "end");
      field.dispatchEvent(new Event("input", { bubbles: true }));
    }
  }

  // --- Clicks ------------------------------------------------------------------------------------
  document.addEventListener("click", (event) => {
    const insert = event.target.closest("[data-insert], [data-fill]");
    if (insert) {
      const field = document.getElementById(insert.dataset.into);
      if (insert.dataset.fill) {
        field.focus();
        field.select();
        type(field, insert.dataset.fill);
        if (insert.dataset.labels) {
          const labels = field.form.elements.labels;
          labels.value = insert.dataset.labels;
          labels.dispatchEvent(new Event("input", { bubbles: true }));
          field.form.querySelector("[name=answer_kind][value=labels]").checked = true;
        }
      } else {
        type(field, insert.dataset.insert);
      }
      insert.closest("details.menu")?.removeAttribute("open");
    }
    const fix = event.target.closest("[data-replace]");
    if (fix) {
      const field = document.getElementById(fix.dataset.in);
      const name = fix.dataset.replace.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
      const there = new RegExp(`\\{\\{\\s*${name}\\s*\\}\\}`, "g");
      const text = field.value.replace(there, () => `{{${fix.dataset.with}}}`);
      field.focus();
      field.select();
      type(field, text);
    }
    const check = event.target.closest("[data-check]");
    if (check) document.getElementById(check.dataset.check)?.click();
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
      const chosen = event.target.closest(".menu-item[popovertarget]");
      if (!menu.contains(event.target) || chosen) menu.open = false;
    }
  });
  // A menu that opens below the edge of the window comes into sight.
  document.addEventListener("toggle", ({ target }) => {
    if (!target.matches?.("details.menu[open]")) return;
    target.querySelector(".menu-panel")?.scrollIntoView({ block: "nearest" });
  }, true);
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    for (const menu of document.querySelectorAll("details.menu[open]")) {
      menu.open = false;
      menu.querySelector("summary").focus();
    }
  });

  // A toolbar is one stop for the Tab key; the arrow keys go from button to button.
  document.addEventListener("keydown", (event) => {
    const bar = event.target.closest("[role=toolbar]");
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!bar || (!step && event.key !== "Home" && event.key !== "End")) return;
    const buttons = [...bar.querySelectorAll("button:not([hidden])")];
    const at = buttons.indexOf(event.target);
    const next = step ? (at + step + buttons.length) % buttons.length : 0;
    const button = event.key === "End" ? buttons.at(-1) : buttons[next];
    event.preventDefault();
    for (const one of buttons) one.tabIndex = one === button ? 0 : -1;
    button.focus();
  });
  document.addEventListener("input", (event) => {
    const bar = document.getElementById(event.target.dataset.filter || "");
    if (!bar) return;
    const wanted = event.target.value.trim().toLowerCase();
    const buttons = [...bar.querySelectorAll("button")];
    for (const one of buttons) {
      one.hidden = !one.textContent.toLowerCase().includes(wanted);
      one.tabIndex = -1;
    }
    const first = buttons.find((one) => !one.hidden);
    if (first) first.tabIndex = 0;
  }, true);

  // --- The recipe saves itself a moment after the last key; nothing else may overtake it ----------
  const recipe = document.getElementById("recipe");
  const current = (one) => (one.isConnected ? one : document.getElementById(one.id));
  let unsaved = 0; // counts what was typed since
  if (recipe) {
    recipe.addEventListener("input", (event) => {
      if (event.target.matches("[data-no-save]")) event.stopPropagation();
      else {
        unsaved += 1;
        document.getElementById("saved")?.classList.add("is-saving");
      }
    }, true);
    document.addEventListener("htmx:beforeRequest", (event) => {
      if (event.detail.requestConfig.path === recipe.getAttribute("action")) {
        event.detail.xhr.typed = unsaved;
      }
    });
    document.addEventListener("htmx:afterOnLoad", (event) => {
      if (event.detail.xhr.typed === unsaved) unsaved = 0;
    });
    // Testing rows, taking advice and the like are about what is written now: save it first.
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
        // What was pressed may have been replaced meanwhile, by the answer to an earlier save.
        current(target).requestSubmit(submitter && current(submitter));
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
    const show = () => { starters.hidden = prompt.value.trim() !== ""; };
    prompt.addEventListener("input", show);
    show();
  }

  // Columns in the prompt have a color; those that the file does not have have another.
  for (const colors of document.querySelectorAll("[data-colors-of]")) {
    const field = document.getElementById(colors.dataset.colorsOf);
    const known = new Set(
      [...document.querySelectorAll(`[data-into="${field.id}"][data-insert]`)].map((one) => one.dataset.insert),
    );
    const paint = () => {
      const parts = field.value.split(/(\\?\{\{[^{}\n]*\}\})/);
      colors.replaceChildren(...parts.map((part, index) => {
        if (index % 2 === 0 || part.startsWith("\\")) return document.createTextNode(part);
        const mark = document.createElement("mark");
        mark.textContent = part;
        mark.classList.toggle("is-unknown", !known.has(`{{${part.slice(2, -2).trim()}}}`));
        return mark;
      }), document.createTextNode("\n"));
      colors.scrollTop = field.scrollTop;
    };
    field.addEventListener("input", paint);
    field.addEventListener("scroll", () => { colors.scrollTop = field.scrollTop; });
    paint();
  }

  // Labels, one per line in the form, as chips: Enter adds one, Backspace takes the last one back.
  for (const box of document.querySelectorAll("[data-labels-of]")) {
    const field = document.getElementById(box.dataset.labelsOf);
    const input = document.createElement("input");
    input.className = "label-chip-input";
    input.placeholder = "Add a label";
    input.setAttribute("aria-label", "Add a label, then press Enter");
    input.setAttribute("data-no-save", "");
    const labels = () => field.value.split("\n").map((one) => one.trim()).filter(Boolean);
    const save = (now) => {
      field.value = now.join("\n");
      field.dispatchEvent(new Event("input", { bubbles: true }));
    };
    const add = () => {
      const fresh = input.value.split(/[\n,;]/).map((one) => one.trim()).filter(Boolean);
      input.value = "";
      if (fresh.length) save([...new Set([...labels(), ...fresh])]);
    };
    const show = () => {
      for (const chip of box.querySelectorAll(".label-chip")) chip.remove();
      labels().forEach((label, index) => {
        const chip = document.createElement("span");
        chip.className = "label-chip";
        chip.append(label);
        const remove = document.createElement("button");
        remove.type = "button";
        remove.textContent = "×";
        remove.tabIndex = -1;
        remove.setAttribute("aria-label", `Remove ${label}`);
        remove.addEventListener("click", () => {
          save(labels().filter((_, at) => at !== index));
          input.focus();
        });
        chip.append(remove);
        input.before(chip);
      });
    };
    box.append(input);
    field.addEventListener("input", show);
    box.addEventListener("click", (event) => { if (event.target === box) input.focus(); });
    input.addEventListener("change", add);
    input.addEventListener("keydown", (event) => {
      if (event.key === "Enter") {
        event.preventDefault();
        add();
      } else if (event.key === "Backspace" && !input.value) {
        save(labels().slice(0, -1));
      }
    });
    show();
  }

  // Ctrl+Enter (or Cmd+Enter) tests what is written.
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
    const test = document.getElementById("test-button");
    if (test && event.target.closest(".recipe")) test.click();
  });

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
    part("file-note").textContent = bytes(file.size);
    part("dropzone").classList.add("has-file");
    const form = document.getElementById("upload");
    if (check() && form.hasAttribute("data-auto-upload")) form.requestSubmit();
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
    part("upload-words").textContent = "Uploading …";
  });
  // So that the same file can be chosen again.
  function endUpload(words) {
    part("upload-progress").hidden = true;
    part("file-error").textContent = words;
    document.getElementById("id_file").value = "";
  }
  document.addEventListener("click", (event) => {
    if (event.target.closest("[data-upload-cancel]")) htmx.trigger("#upload", "htmx:abort");
  });
  document.addEventListener("htmx:sendAbort", (event) => {
    if (event.target.id === "upload") endUpload("Upload canceled. Nothing was kept.");
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
    endUpload("The upload was cut off before it was complete. Nothing was kept. Choose the file again.");
  });
})();
