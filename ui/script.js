// What the browser does alone: keys, light and dark, and which sections stay open.

(() => {
  if (window.studio) return; // Gradio runs the page's head a second time
  const read = (key) => { try { return localStorage.getItem(key); } catch { return null; } };
  const write = (key, value) => { try { localStorage.setItem(key, value); } catch { /* private mode: forgotten */ } };
  const isShown = (element) => element.offsetParent !== null || getComputedStyle(element).position === "fixed";

  const THEME = "studio.theme";
  const applyTheme = (theme) => document.body.classList.toggle("dark", theme === "dark");
  window.studio = {
    switchTheme() {
      const theme = document.body.classList.contains("dark") ? "light" : "dark";
      write(THEME, theme);
      applyTheme(theme);
    },
  };

  // A click on a button that is on screen: every tab has its own Generate and Stop.
  const press = (selector) => {
    const button = [...document.querySelectorAll(selector)].find((found) => isShown(found) && !found.disabled);
    button?.click();
    return Boolean(button);
  };
  document.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      // Gradio hands a text on when it loses focus; a moment later Generate sees it.
      document.activeElement?.dispatchEvent(new Event("input", { bubbles: true }));
      event.preventDefault();
      setTimeout(() => press("button.generate"), 50);
    } else if (event.key === "Escape") {
      press("button.stop");
    }
  });

  // Sections are remembered by their own name, alike in all tabs.
  const nameOf = (section) => [...section.classList].find((name) => name.startsWith("section-"));
  const isOpen = (section) => section.querySelector(":scope > .label-wrap")?.classList.contains("open") ?? false;
  document.addEventListener("click", (event) => {
    const label = event.target.closest?.(".section > .label-wrap");
    if (!label || !event.isTrusted) return; // our own clicks below are no choice of the visitor
    const section = label.parentElement;
    setTimeout(() => write(`studio.${nameOf(section)}`, isOpen(section) ? "open" : "closed"), 50);
  });
  const reopen = () => {
    for (const section of document.querySelectorAll(".section:not([data-seen])")) {
      section.dataset.seen = "yes";
      if (read(`studio.${nameOf(section)}`) !== "open") continue;
      // Gradio sets its own state once more just after it has drawn a section.
      setTimeout(() => { if (!isOpen(section)) section.querySelector(":scope > .label-wrap")?.click(); }, 150);
    }
  };

  const start = () => {
    const theme = read(THEME);
    if (theme) setTimeout(() => applyTheme(theme));
    new MutationObserver(reopen).observe(document.body, { childList: true, subtree: true });
    reopen();
  };
  // Gradio may add this script to a page that stands already.
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();
