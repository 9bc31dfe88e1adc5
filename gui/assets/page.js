// Runs in the page's head. `pages` is {all: languages, first: that of the address without one, fixed: chosen by --lang}.
const name = location.pathname.replace(/\/+$/, "").split("/").pop();
const here = pages.all.includes(name) ? name : pages.first;
document.documentElement.lang = here;
const wanted = pages.all.find((language) => navigator.language.startsWith(language));
if (!pages.fixed && name !== here && wanted && wanted !== here && firstVisit()) {
  location.replace(location.pathname.replace(/\/*$/, "/") + wanted + location.search);
}

// Once: who then follows the link to the other language stays there.
function firstVisit() {
  try {
    const seen = sessionStorage.getItem("text2digit");
    sessionStorage.setItem("text2digit", "seen");
    return !seen;
  } catch {
    return false; // no storage, as in some frames
  }
}

// The ARIA pattern for tabs, of which Gradio has the roles alone: one tab stop, arrow keys, Home and End.
document.addEventListener("keydown", (event) => {
  const tab = event.target.closest("[role=tab]");
  if (!tab) return;
  const tabs = [...tab.parentElement.querySelectorAll("[role=tab]")], at = tabs.indexOf(tab);
  const to = { ArrowLeft: at - 1, ArrowRight: (at + 1) % tabs.length, Home: 0, End: -1 }[event.key];
  if (to === undefined) return;
  event.preventDefault();
  tabs.at(to).focus();
  tabs.at(to).click();
});
// The number beside a slider: the server answers one outside of the range with an error, so the nearest one is sent.
document.addEventListener("input", (event) => {
  const field = event.target;
  if (field.type !== "number" || !field.min || !field.max) return;
  const near = Math.min(field.max, Math.max(field.min, field.value));
  if (field.value === "") event.stopImmediatePropagation();
  else if (near !== Number(field.value)) field.value = near;
}, true);
document.addEventListener("focusout", ({ target }) => {
  const range = target.type === "number" && target.value === "" && target.closest(".block")?.querySelector("[type=range]");
  if (range) target.value = range.value;
}, true);

function describe() {
  for (const tab of document.querySelectorAll("[role=tab]")) {
    tab.tabIndex = tab.ariaSelected === "true" ? 0 : -1;
    document.getElementById(tab.id.replace(/-button$/, ""))?.setAttribute("aria-labelledby", tab.id);
  }
  for (const group of document.querySelectorAll("fieldset")) group.ariaLabel = group.querySelector("span").textContent;
  for (const fold of document.querySelectorAll("button.label-wrap")) fold.ariaExpanded = fold.classList.contains("open");
}
new MutationObserver(describe).observe(document, {
  subtree: true, childList: true, attributes: true, attributeFilter: ["aria-selected", "class"],
});
