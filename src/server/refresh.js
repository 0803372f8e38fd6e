// Reads the table of targets anew every ten seconds, while somebody looks at it.
setInterval(async () => {
  if (document.hidden) return;
  try {
    const answer = await fetch(location.href);
    if (!answer.ok) return;
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    const table = fresh.getElementById("keys");
    if (table && !document.getElementById("keys").contains(document.activeElement)) {
      document.getElementById("keys").replaceWith(table);
    }
  } catch {
    // The exporter is away: the table stays as it was.
  }
}, 10000);
