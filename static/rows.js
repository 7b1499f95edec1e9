// A row opens beside the table. Its link leads to the page of the row, also without this.
(() => {
  "use strict";

  // With Ctrl and the like it opens a tab or a window, as any link does.
  document.addEventListener("click", (event) => {
    const plain = !(event.ctrlKey || event.metaKey || event.shiftKey);
    if (!plain && event.target.closest("a[hx-get]")) event.stopPropagation();
  }, true);

  document.addEventListener("htmx:afterSwap", (event) => {
    const drawer = event.target;
    if (drawer.id !== "row-drawer") return;
    drawer.scrollTop = 0;
    if (!drawer.open) drawer.showModal();
  });
})();
