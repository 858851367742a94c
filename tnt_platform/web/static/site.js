// Everything works without this file: it remembers the theme and shows new versions without a reload.
"use strict";
(() => {
  const root = document.documentElement;
  const button = document.getElementById("theme");
  const dark = () => (root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches);
  const label = () => { button.textContent = dark() ? "Light" : "Dark"; };
  let kept = null;
  try { kept = localStorage.getItem("theme"); } catch { /* no storage, no memory */ }
  if (kept === "dark" || kept === "light") root.dataset.theme = kept;
  button.hidden = false;
  label();
  button.addEventListener("click", () => {
    root.dataset.theme = dark() ? "light" : "dark";
    try { localStorage.setItem("theme", root.dataset.theme); } catch { /* for this page only */ }
    label();
  });

  const POLL_MS = 5000;
  const news = document.getElementById("news");
  let seen = document.body.dataset.etag;
  if (!seen) return;
  const REFRESH_MS = 30000;
  let shown = Date.now();
  const show = async (isNew) => {
    shown = Date.now();
    const answer = await fetch(location.href, { headers: { accept: "text/html" } });
    if (!answer.ok) return;
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    const main = document.getElementById("main");
    const open = [...main.querySelectorAll("details")].map((one) => one.open);
    main.replaceWith(document.adoptNode(fresh.getElementById("main")));
    document.querySelectorAll("#main details").forEach((one, n) => { if (open[n] !== undefined) one.open = open[n]; });
    if (isNew) news.textContent = `A new version was published; shown since ${new Date().toISOString().slice(11, 16)} UTC.`;
  };
  const look = async () => {
    // Not while somebody fills a form or uses the page's controls, nor behind other windows.
    const busy = document.getElementById("main").contains(document.activeElement) && document.activeElement.id !== "main";
    if (!document.hidden && !busy) {
      try {
        const answer = await fetch("/datasets?limit=1", { method: "HEAD", cache: "no-store" });
        const etag = answer.headers.get("etag");
        if (answer.ok && etag && etag !== seen) { seen = etag; await show(true); }
        // What Dagster says changes without a new version.
        else if (document.body.dataset.refresh && Date.now() - shown > REFRESH_MS) await show(false);
      } catch { /* the server is away; the next look tells */ }
    }
    setTimeout(look, POLL_MS);
  };
  setTimeout(look, POLL_MS);
})();
