// Shows the copy buttons and copies their text on a click.
for (const button of document.querySelectorAll("button[data-copies]")) {
  const text = document.getElementById(button.dataset.copies);
  button.hidden = false;
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text.textContent);
      button.textContent = "Copied";
    } catch {
      // Without clipboard permission, select the text instead.
      getSelection().selectAllChildren(text);
      button.textContent = "Selected: copy it now";
    }
  });
}
