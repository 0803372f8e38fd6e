// Refreshes the table of targets every ten seconds while the page is visible. If that fails, the page says so.
setInterval(async () => {
  if (document.hidden) return;
  const old = document.getElementById("keys");
  try {
    const answer = await fetch(location.href);
    if (!answer.ok) throw new Error(answer.status);
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const fresh = page.getElementById("keys");
    if (!old.contains(document.activeElement)) old.replaceWith(fresh);
  } catch {
    const read = document.getElementById("read");
    read.className = "failed";
    read.setAttribute("role", "status");
    read.textContent = `The exporter does not respond. This page shows the state at ${old.dataset.read}.`;
  }
}, 10000);
