// What the browser does alone: keys, light and dark, the panel about memory, and which sections stay open.

(() => {
  if (window.studio?.generate) return; // Gradio runs the page's head a second time
  const read = (key) => { try { return localStorage.getItem(key); } catch { return null; } };
  const write = (key, value) => { try { localStorage.setItem(key, value); } catch { /* private mode: forgotten */ } };
  const isShown = (element) => element.offsetParent !== null || getComputedStyle(element).position === "fixed";

  const THEME = "studio.theme";
  const applyTheme = (theme) => document.body.classList.toggle("dark", theme === "dark");
  window.studio = Object.assign(window.studio ?? {}, { // each script of the page adds its own
    switchTheme() {
      const theme = document.body.classList.contains("dark") ? "light" : "dark";
      write(THEME, theme);
      applyTheme(theme);
    },
    // A moment later, when Gradio has what was typed or filled in.
    generate() { setTimeout(() => press("button.generate"), 50); },
    showAbout() { document.getElementById("about")?.showPopover(); },
  });

  // A click on a button that is on screen: every tab has its own Generate and Stop.
  const press = (selector) => {
    const button = [...document.querySelectorAll(selector)].find((found) => isShown(found) && !found.disabled);
    button?.click();
    return Boolean(button);
  };
  // Where the stage stands above the inputs, a run would begin and end out of sight.
  const isNarrow = matchMedia("(max-width: 1023px)");
  const isCalm = matchMedia("(prefers-reduced-motion: reduce)");
  document.addEventListener("click", (event) => {
    const stage = event.target.closest?.("button.generate")?.closest(".workspace")?.querySelector(".stage");
    if (stage && isNarrow.matches) stage.scrollIntoView({ behavior: isCalm.matches ? "auto" : "smooth", block: "start" });
  });
  // What Escape closes first. Looked at before anybody has handled the key: afterwards it is gone.
  let isForOthers = false;
  window.addEventListener("keydown", () => {
    const open = document.querySelector("ul[role=listbox], .fullscreen-overlay, .api-docs, :popover-open");
    isForOthers = Boolean(document.fullscreenElement || open);
  }, true);
  document.addEventListener("keydown", (event) => {
    // Composing: the key chooses a word of an input method.
    if (event.isComposing || event.defaultPrevented || event.repeat) return;
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      // Gradio hands a text on when it loses focus.
      document.activeElement?.dispatchEvent(new Event("input", { bubbles: true }));
      event.preventDefault();
      window.studio.generate();
    } else if (event.key === "Escape" && !isForOthers && !window.studio.dismiss?.()) {
      if (!event.target.matches?.("input[type=search], .preset-list input")) press("button.stop");
    }
  });

  // For those who do not see the stage: how a run begins and how it ends, not its every step.
  const region = document.createElement("div");
  region.setAttribute("role", "status");
  region.style.cssText = "position: fixed; width: 1px; height: 1px; top: 0; overflow: hidden; clip-path: inset(50%)";
  let isRunning = false;
  const announce = () => {
    const sentence = [...document.querySelectorAll(".sentence")].find(isShown);
    const wasRunning = isRunning;
    isRunning = sentence?.classList.contains("running") ?? false;
    if (!sentence || (isRunning && wasRunning)) return;
    if (region.textContent !== sentence.textContent) region.textContent = sentence.textContent;
  };

  // Pictures of different texts are compared side by side; Gradio cannot be told to close the large one.
  const spread = () => {
    const result = [...document.querySelectorAll(".result.side-by-side")].find(isShown);
    const pictures = result && [...result.querySelectorAll(".grid-container img")].map((image) => image.src).join();
    if (!pictures || result.dataset.spread === pictures) return;
    result.dataset.spread = pictures;
    if (result.querySelector(".preview")) result.querySelector(".preview button[aria-label=Close]")?.click();
  };

  // The panel about models and memory opens over the page, and closes with Escape or a click beside it.
  const raisePanel = () => {
    const panel = document.getElementById("about");
    if (panel && !panel.popover) panel.popover = "auto";
  };

  // A textual inversion's name goes into the prompt, or into the box that was written in last.
  let lastText = null;
  document.addEventListener("focusin", (event) => { if (event.target.matches?.("textarea")) lastText = event.target; });
  document.addEventListener("click", (event) => {
    const chip = event.target.closest?.(".word-chip");
    if (!chip) return;
    const prompts = [...document.querySelectorAll(".prompt textarea")];
    const box = lastText?.isConnected && isShown(lastText) ? lastText : prompts.find(isShown);
    if (!box) return;
    box.value = [box.value.trim().replace(/,$/, ""), chip.textContent].filter(Boolean).join(", ");
    box.dispatchEvent(new Event("input", { bubbles: true }));
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
    document.body.append(region);
    new MutationObserver(() => { raisePanel(); reopen(); announce(); spread(); }).observe(document.body, { childList: true, subtree: true });
    reopen();
  };
  // Gradio may add this script to a page that stands already.
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();
