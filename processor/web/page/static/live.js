// Makes the page live. It works without this: then times are UTC, people reload, and nothing copies ids.
//
// The server sends snapshots (/api/v1/events). Each is taken as a sign that something is new: the page's own address is
// asked again, and the regions that differ are put in place. So the server alone knows how anything looks, in any
// language. Where the stream cannot be had, the page is asked every few seconds instead.
"use strict";

(() => {
  const LEAST_MS = 2000; // between two renewals
  const POLL_MS = 5000; // between two renewals without a stream
  const QUIET_MS = 20000; // ages grow also while nothing happens
  const RETRY_MS = 30000; // before a stream that was refused is asked for again
  const ANNOUNCE_MS = 10000; // between two announcements to screen readers
  const TIMEOUT_MS = 15000;

  // Times, in the reader's own zone. Written as ISO does in every language: one width, no doubt about day and month.

  const ZONE = "delivery-status.zone"; // where a choice of zone is remembered
  const OWN = ""; // the choice of the reader's own

  const remembered = () => {
    try {
      return localStorage.getItem(ZONE) || OWN;
    } catch {
      return OWN; // the browser keeps nothing
    }
  };

  let full, short, zoneName;
  const use = (zone) => {
    const at = zone === OWN ? {} : { timeZone: zone };
    full = new Intl.DateTimeFormat("sv-SE", { dateStyle: "short", timeStyle: "medium", ...at });
    short = new Intl.DateTimeFormat("sv-SE", { hour: "2-digit", minute: "2-digit", ...at });
    zoneName = full.resolvedOptions().timeZone;
  };
  try {
    use(remembered());
  } catch {
    use(OWN); // a zone that this browser does not know
  }

  const localise = (root) => {
    for (const element of root.querySelectorAll("time[datetime]")) {
      const time = new Date(element.dateTime);
      if (!Number.isNaN(time.getTime())) {
        element.textContent = ("short" in element.dataset ? short : full).format(time);
      }
    }
    for (const element of root.querySelectorAll("[data-zone-name]")) {
      element.textContent = zoneName;
      element.hidden = false;
    }
  };

  const offerZones = () => {
    const box = document.querySelector("[data-zones]");
    const choice = box.querySelector("select");
    const own = new Intl.DateTimeFormat().resolvedOptions().timeZone;
    const others = typeof Intl.supportedValuesOf === "function" ? Intl.supportedValuesOf("timeZone") : [];
    const chosen = remembered();
    const zones = new Set(["UTC", ...others, ...(chosen === OWN ? [] : [chosen])]);
    choice.append(new Option(`${own} (${box.dataset.own})`, OWN, true), ...[...zones].map((zone) => new Option(zone)));
    choice.value = zoneName === own && chosen === OWN ? OWN : zoneName;
    choice.addEventListener("change", () => {
      use(choice.value);
      try {
        localStorage.setItem(ZONE, choice.value);
      } catch {
        // It holds for this page.
      }
      localise(document);
    });
    box.hidden = false;
  };

  // Copying

  const SAID_MS = 2000; // how long a button says that it has copied
  const { copyLabel, copiedLabel } = document.body.dataset;

  const copyIcon = () => {
    const icon = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    icon.setAttribute("class", "icon");
    icon.setAttribute("aria-hidden", "true");
    icon.append(document.createElementNS("http://www.w3.org/2000/svg", "use"));
    icon.firstChild.setAttribute("href", "#i-copy");
    return icon;
  };

  const offerCopies = (root) => {
    for (const element of root.querySelectorAll("[data-copy]")) {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "copy";
      button.setAttribute("aria-label", `${copyLabel}: ${element.textContent}`);
      button.title = copyLabel;
      button.append(copyIcon());
      element.after(button);
    }
  };

  // Without https a browser has no clipboard for scripts, but it still copies what is selected.
  const copySelected = (text) => {
    const field = document.createElement("textarea");
    field.value = text;
    field.className = "unseen";
    document.body.append(field);
    field.select();
    const isCopied = document.execCommand("copy");
    field.remove();
    return isCopied;
  };

  const copy = async (button) => {
    const text = button.previousElementSibling.textContent;
    const isCopied = navigator.clipboard
      ? await navigator.clipboard.writeText(text).then(() => true, () => copySelected(text))
      : copySelected(text);
    button.focus();
    if (!isCopied) return;
    const said = document.createElement("span");
    said.className = "said";
    said.setAttribute("role", "status");
    button.after(said);
    said.textContent = copiedLabel;
    setTimeout(() => said.remove(), SAID_MS);
  };

  // Names of countries, as the browser knows them.
  const regions =
    typeof Intl.DisplayNames === "function"
      ? new Intl.DisplayNames(document.documentElement.lang, { type: "region", fallback: "code" })
      : null;

  const nameRegions = (root) => {
    for (const element of root.querySelectorAll("[data-region-code]")) {
      if (regions !== null) element.textContent = regions.of(element.dataset.regionCode);
    }
  };

  const enliven = (root) => {
    localise(root);
    nameRegions(root);
    offerCopies(root);
  };

  // Renewal

  const main = document.querySelector("main");
  // What the server last sent for each region: what is in the page has been changed since (times, open details).
  const sent = new Map();
  const isSelecting = (region) => {
    const selection = document.getSelection();
    return selection !== null && !selection.isCollapsed && selection.containsNode(region, true);
  };

  // What a reader has done to a region, so that it can be done again to the new one.
  const stateOf = (region) => ({
    open: [...region.querySelectorAll("details[open]")].map((each) => each.id),
    scrolled: [...region.querySelectorAll(".scroll")].map((each) => each.scrollLeft),
    focused: [...region.querySelectorAll("a, button, summary, [tabindex]")].indexOf(document.activeElement),
  });

  const restore = (region, state) => {
    for (const id of state.open) {
      const details = document.getElementById(id);
      if (details !== null) details.open = true;
    }
    const boxes = region.querySelectorAll(".scroll");
    state.scrolled.forEach((left, index) => {
      if (boxes[index] && left > 0) boxes[index].scrollLeft = left;
    });
    if (state.focused >= 0) {
      const candidates = region.querySelectorAll("a, button, summary, [tabindex]");
      (candidates[state.focused] || main).focus({ preventScroll: true });
    }
  };

  const put = (fresh) => {
    // Parsed without scripting, these have elements; in a page with scripting they are text.
    for (const each of fresh.querySelectorAll("noscript")) each.remove();
    for (const region of document.querySelectorAll("[data-region]")) {
      const other = fresh.getElementById(region.id);
      if (other === null || sent.get(region.id) === other.innerHTML || isSelecting(region)) continue;
      sent.set(region.id, other.innerHTML);
      const state = stateOf(region);
      region.replaceChildren(...other.cloneNode(true).childNodes);
      enliven(region);
      show();
      restore(region, state);
    }
    document.title = fresh.title;
  };

  // What is told of all this

  const announcer = document.createElement("p");
  announcer.className = "unseen";
  announcer.setAttribute("role", "status");
  let announcedAt = Date.now();
  let said = "";

  const announce = () => {
    const summary = document.querySelector("[data-summary]");
    const text = summary === null ? "" : summary.textContent.trim();
    if (text === said || Date.now() - announcedAt < ANNOUNCE_MS) return;
    said = announcer.textContent = text;
    announcedAt = Date.now();
  };

  // Until a stream or a renewal says otherwise: as the server wrote it.
  let mode = "asOf";
  let isPaused = false;

  const show = () => {
    const box = document.querySelector("[data-live-state]");
    if (box === null) return;
    const shown = isPaused ? "paused" : mode;
    box.dataset.mode = shown;
    box.querySelector("[data-live-text]").textContent = box.dataset[shown];
    const button = box.querySelector("[data-live-pause]");
    button.hidden = false;
    button.textContent = isPaused ? box.dataset.resume : box.dataset.pause;
  };

  const set = (next) => {
    mode = next;
    show();
  };

  // When

  let renewedAt = Date.now();
  let isRenewing = false;
  let timer = 0;
  let stream = null;
  let retry = 0;

  const mayRenew = () => !isPaused && !document.hidden;
  const isLive = () => stream !== null && stream.readyState === EventSource.OPEN;

  const renew = async () => {
    clearTimeout(timer);
    if (isRenewing || !mayRenew()) return;
    isRenewing = true;
    let wait = isLive() ? QUIET_MS : POLL_MS;
    try {
      const response = await fetch(location.href, {
        headers: { Accept: "text/html" },
        cache: "no-store",
        signal: AbortSignal.timeout(TIMEOUT_MS),
      });
      if (response.redirected) {
        location.reload(); // signed out
        return;
      }
      if (response.ok && mayRenew()) {
        put(new DOMParser().parseFromString(await response.text(), "text/html"));
        set(isLive() ? "live" : "poll");
        announce();
      } else if (!response.ok) {
        wait = 1000 * (Number(response.headers.get("Retry-After")) || POLL_MS / 1000);
        set("lost");
      }
    } catch {
      wait = POLL_MS;
      set("lost");
    } finally {
      isRenewing = false;
      renewedAt = Date.now();
    }
    plan(wait);
  };

  const plan = (wait) => {
    clearTimeout(timer);
    timer = setTimeout(renew, wait);
  };

  const hear = () => {
    if (!isRenewing) plan(Math.max(0, renewedAt + LEAST_MS - Date.now()));
  };

  const listen = () => {
    clearTimeout(retry);
    if (stream !== null || !mayRenew() || typeof EventSource === "undefined") return;
    stream = new EventSource(main.dataset.events);
    stream.addEventListener("overview", hear);
    stream.addEventListener("message", hear);
    stream.addEventListener("open", () => set("live"));
    stream.addEventListener("error", () => {
      plan(LEAST_MS);
      // It connects anew by itself, unless it was refused.
      if (stream === null || stream.readyState !== EventSource.CLOSED) return;
      stream = null;
      retry = setTimeout(listen, RETRY_MS);
    });
  };

  const rest = () => {
    // A hidden page keeps no connection: browsers allow six to an origin.
    clearTimeout(timer);
    clearTimeout(retry);
    if (stream !== null) stream.close();
    stream = null;
  };

  const wake = () => {
    if (mayRenew()) {
      listen();
      renew();
    } else {
      rest();
    }
  };

  enliven(document);
  offerZones();
  document.addEventListener("click", (event) => {
    const button = event.target.closest(".copy");
    if (button !== null) copy(button);
  });
  if ("events" in main.dataset) {
    document.body.append(announcer);
    document.addEventListener("visibilitychange", wake);
    addEventListener("pagehide", rest);
    addEventListener("pageshow", (event) => event.persisted && wake());
    document.addEventListener("click", (event) => {
      if (!event.target.closest("[data-live-pause]")) return;
      isPaused = !isPaused;
      show();
      wake();
    });
    said = (document.querySelector("[data-summary]") || announcer).textContent.trim();
    show();
    listen();
    plan(QUIET_MS);
  }
})();
