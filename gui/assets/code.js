// Shows the value as text, never as markup, and copies it. Gradio runs this once for each view of code.
const code = element.querySelector("code"), copy = element.querySelector("button");
const show = () => { code.textContent = props.value || ""; };
watch("value", show);
show();
copy.addEventListener("click", async () => {
  const selection = getSelection();
  selection.selectAllChildren(code); // seen, and at hand where the browser refuses the clipboard
  try {
    await navigator.clipboard.writeText(code.textContent);
  } catch {
    document.execCommand("copy");
  }
});
