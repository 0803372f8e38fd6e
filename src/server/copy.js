// Shows the buttons that copy a text, and copies it.
for (const button of document.querySelectorAll("button[data-copies]")) {
  const text = document.getElementById(button.dataset.copies);
  button.hidden = false;
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text.textContent);
      button.textContent = "Copied";
    } catch {
      // Without leave to copy, the text is at least selected.
      getSelection().selectAllChildren(text);
      button.textContent = "Selected: copy it now";
    }
  });
}
