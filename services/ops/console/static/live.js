// Keeps the line that says how fresh a page is. What could not be refreshed is called stale: old
// figures must not look like new ones. htmx fetches and swaps; this file only watches it.
(function () {
  "use strict";
  const SILENCE = 30000; // ms; the server gives a sign of life every 10 s
  const RETRY = 10000;
  const line = document.getElementById("live");
  const failed = new Set();
  let heard = Date.now();
  let streaming = true;

  function time() {
    return new Date().toISOString().slice(11, 19) + " UTC";
  }

  function say(state, text) {
    if (!line || (line.dataset.state === state && state === "stale")) return;
    line.dataset.state = state;
    line.querySelector("[data-live-text]").textContent = text;
  }

  function tell() {
    if (failed.size || !streaming) say("stale", "Stale: not updated since " + time() + ", trying again");
    else say("fresh", "Live, updated " + time());
  }

  function region(event) {
    return event.target instanceof Element ? event.target.closest("[data-live]") : null;
  }

  document.addEventListener("htmx:afterRequest", function (event) {
    const live = region(event);
    if (!live) {
      if (!event.detail.successful) complain(event.detail.target);
      return;
    }
    if (event.detail.successful) failed.delete(live);
    else failed.add(live);
    live.classList.toggle("is-stale", failed.has(live));
    if (failed.has(live)) complain(live.querySelector(".loading"));
    // Others ask again by themselves; this one only when it is told to.
    if (failed.has(live) && live.dataset.events) setTimeout(refresh, RETRY);
    tell();
  });

  // Where something was being waited for, or was asked for, and nothing came.
  function complain(place) {
    if (!place) return;
    const said = document.createElement("p");
    said.className = "problem";
    said.setAttribute("role", "alert");
    said.textContent = "No answer: the service could not be asked. Try again in a moment.";
    place.replaceChildren(said);
    place.classList.remove("loading");
  }

  // A table or diagram that was scrolled sideways stays where it was.
  const scrolled = new Map();
  document.addEventListener("htmx:beforeSwap", function () {
    for (const each of document.querySelectorAll(".scroller[id]")) scrolled.set(each.id, each.scrollLeft);
  });
  document.addEventListener("htmx:afterSettle", function () {
    for (const [id, left] of scrolled) {
      const each = document.getElementById(id);
      if (each) each.scrollLeft = left;
    }
  });

  const watched = document.querySelector("[data-events]");

  function refresh() {
    window.htmx.trigger(watched, "changed");
  }

  function listen() {
    const source = new EventSource(watched.dataset.events);
    const alive = function () {
      heard = Date.now();
      streaming = true;
      tell();
    };
    source.addEventListener("alive", alive);
    source.addEventListener("changed", function () {
      alive();
      refresh();
    });
    source.addEventListener("error", function () {
      streaming = false;
      tell();
      // The browser tries again by itself, unless it was refused.
      if (source.readyState === EventSource.CLOSED) setTimeout(listen, RETRY);
    });
  }

  if (!watched) return;
  listen();
  setInterval(function () {
    if (Date.now() - heard > SILENCE && streaming) {
      streaming = false;
      tell();
    }
  }, 5000);
})();
