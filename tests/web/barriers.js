// Looks at pages in a browser, for test_accessibility: one after the other in the same window, so
// that what the browser makes of axe's code and ours is made once.
window.barriers = (() => {
  "use strict";

  const OF_ONE = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"];
  const TAGS = [...OF_ONE, "best-practice"]; // which is about whole pages
  const WITH_AXE = [390, 1280];
  // What depends on colors and on the room there is. Everything else is looked at once, in light.
  const OF_LIGHT = ["color-contrast", "link-in-text-block"];
  const OF_WIDTH = [
    ...OF_LIGHT, "landmark-unique", "region", "scrollable-region-focusable", "target-size",
  ];
  const MENUS = "main details.menu";
  // What opens above the page. The header is the same on all pages.
  const ABOVE = [MENUS, "main .dialog[popover]", "header details.menu"];
  const WORDS = /^(hx-|action|alt|aria-label|content|data-|href|src|title|value)/;
  const FRAMES = 600; // until a page has followed the colors that the browser asks for
  const FRAME_SECONDS = 0.1; // of one that the browser may not draw
  const PATIENCE_SECONDS = 120;
  const NEW = "data-new-colors";
  // The contrast of text is the slowest rule by far.
  axe.configure({ rules: [{ id: "color-contrast", selector: `[${NEW}]` }] });

  const seen = new Set();
  const numbers = new Map();
  let isNewPage = false;
  let above = [];
  let waits = ""; // for what

  const sleep = (seconds) => new Promise((done) => { setTimeout(done, seconds * 1000); });

  // A browser has no limit for what never happens.
  const inTime = (step) => (...given) => Promise.race([
    step(...given),
    sleep(PATIENCE_SECONDS).then(() => {
      throw new Error(`${location}: waited in vain: ${waits}`);
    }),
  ]);

  const isNew = (key) => !seen.has(key) && Boolean(seen.add(key));
  // A short name of a long text.
  const numberOf = (text) => numbers.get(text) ?? numbers.set(text, numbers.size).get(text);
  const rulesOf = (...values) => ({ runOnly: { type: "rule", values } });
  // The rules with these tags, without the one that looks at nothing but the style sheets.
  const tagged = (...values) => ({
    runOnly: { type: "tag", values }, rules: { "css-orientation-lock": { enabled: false } },
  });

  async function run(root, options) {
    waits = `axe on ${root.className ?? "the page"}`;
    const { violations } = await axe.run(root, {
      ...options, resultTypes: ["violations"], elementRef: false,
    });
    return violations.flatMap((found) => found.nodes.map((node) =>
      `${found.id}: ${node.html.slice(0, 140)} ${(node.any[0] || {}).message || ""}`));
  }

  // The elements with their attributes, and whether there are words, but not which: what differs
  // in nothing else has the same barriers.
  function shape(element) {
    const attributes = [...element.attributes].map(({ name, value }) => {
      const isWords = element.localName !== "link" && WORDS.test(name);
      return `${name}=${isWords ? Boolean(value) : value.replace(/[0-9]+/g, "0")}`;
    });
    const inside = [...element.childNodes].map((node) =>
      node.nodeType === Node.ELEMENT_NODE ? shape(node) : hasWords(node) ? "words" : "");
    return `<${element.localName} ${attributes.join(" ")}>${inside.join("")}</>`;
  }

  const hasWords = (node) => node.nodeType === Node.TEXT_NODE && Boolean(node.data.trim());

  // Whether anything is new: mark the text below `root` whose colors, on the same grounds, were not yet seen in `look`.
  function markNewColors(root, look) {
    for (const old of document.querySelectorAll(`[${NEW}]`)) old.removeAttribute(NEW);
    const grounds = new Map([[null, numberOf(look)]]);
    const groundOf = (element) => {
      if (!grounds.has(element)) {
        const { backgroundColor, backgroundImage, opacity } = getComputedStyle(element);
        grounds.set(element, numberOf([
          groundOf(element.parentElement), element.localName, element.getAttribute("class"),
          backgroundColor, backgroundImage, opacity,
        ].join("|")));
      }
      return grounds.get(element);
    };
    for (const element of root.querySelectorAll("*")) {
      const isText = element.matches("input, select, textarea")
        || [...element.childNodes].some(hasWords);
      if (!isText || !element.checkVisibility()) continue;
      const { color, fontSize, fontWeight, textShadow } = getComputedStyle(element);
      const key = [groundOf(element), color, fontSize, fontWeight, textShadow].join("|");
      if (isNew(numberOf(key))) element.setAttribute(NEW, "");
    }
    return document.querySelectorAll(`[${NEW}]`).length > 0;
  }

  // Resolves once the page knows of it, which brings a menu into sight.
  async function setOpen(one, isOpen) {
    if (one.matches("[open], :popover-open") === isOpen) return; // the page itself did it
    waits = `${one.className} to ${isOpen ? "open" : "close"}`;
    const toggled = new Promise((done) => { one.addEventListener("toggle", done, { once: true }); });
    if (!one.popover) one.open = isOpen;
    else if (isOpen) one.showPopover();
    else one.hidePopover();
    await toggled;
  }

  // Menus of which a part is beside the window, where nobody can scroll to: from where to where.
  function cutOff() {
    return [...document.querySelectorAll(MENUS)].flatMap((menu, number) => {
      menu.open = true;
      const { left, right } = menu.querySelector(".menu-panel").getBoundingClientRect();
      menu.open = false;
      const isCut = left < 0 || right > innerWidth;
      return isCut ? [`menu ${number}: ${Math.round(left)} to ${Math.round(right)} px`] : [];
    });
  }

  function tooWide(width) {
    const needed = document.scrollingElement.scrollWidth;
    if (needed <= width) return [];
    // The elements that stick out to the right, the innermost last.
    const wide = [...document.body.querySelectorAll("*")]
      .filter((element) => element.getBoundingClientRect().right > innerWidth + 1)
      .map((element) => element.outerHTML.slice(0, 100)).slice(-2);
    return [`${needed} px wide at ${width}: ${JSON.stringify(wide)}`];
  }

  // The page has the colors that the browser asks for, at the latest some frames later.
  async function followed(scheme, frames) {
    for (let frame = 0; document.documentElement.dataset.bsTheme !== scheme; frame += 1) {
      if (frame === frames) return [`it is not ${scheme}`];
      waits = `a frame that is ${scheme}`;
      await Promise.race([new Promise(requestAnimationFrame), sleep(FRAME_SECONDS)]);
    }
    return [];
  }

  // A page as the site answers, with its scripts; all its listeners end with it.
  async function open(address, scheme) {
    const html = await (await fetch(address)).text();
    history.replaceState(null, "", address);
    document.open();
    const loaded = new Promise((done) => { addEventListener("load", done, { once: true }); });
    document.write(html);
    document.close();
    waits = "the page to load";
    await loaded;
    for (const one of document.querySelectorAll("details:not(.menu)")) one.open = true;
    isNewPage = isNew(shape(document.documentElement));
    const all = ABOVE.flatMap((selector) => [...document.querySelectorAll(selector)]);
    above = isNewPage ? all.filter((one) => isNew(shape(one))) : [];
    const found = await followed(scheme, 0);
    const sheets = [...document.querySelectorAll("link[rel=stylesheet]")].map(({ href }) => href);
    if (isNew(sheets.join(" "))) found.push(...await run(document, rulesOf("css-orientation-lock")));
    return found;
  }

  async function look(scheme, width) {
    scrollTo(0, 0);
    const found = [...await followed(scheme, FRAMES), ...tooWide(width), ...cutOff()];
    if (!isNewPage || !WITH_AXE.includes(width)) return found;
    const isLight = scheme === "light";
    const seenIn = `${scheme} ${width}`;
    markNewColors(document, seenIn);
    found.push(...await run(document, isLight ? tagged(...TAGS) : rulesOf(...OF_WIDTH)));
    for (const one of above) {
      await setOpen(one, true);
      if (markNewColors(one, seenIn) || isLight) {
        const barriers = await run(one, isLight ? tagged(...OF_ONE) : rulesOf(...OF_LIGHT));
        found.push(...barriers.map((barrier) => `${one.className}: ${barrier}`));
      }
      await setOpen(one, false);
    }
    return found;
  }

  return { open: inTime(open), look: inTime(look) };
})();
