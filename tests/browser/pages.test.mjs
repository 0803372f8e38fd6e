// The pages in Debian's Chromium. tests/suite/browser.rs sets up an exporter, targets that fail in different ways and a probe
// of each, and passes them in SCENE. If PICTURES is set, the screenshots are written to that folder.

import assert from "node:assert/strict";
import { mkdir, readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { after, before, describe, test } from "node:test";
import Ajv from "ajv";
import harSchema from "har-schema";
import { chromium } from "playwright-core";

const { base, probes, hostile, module, wellUrl } = JSON.parse(process.env.SCENE);
const pictures = process.env.PICTURES;
const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

const LOOKS = [{ width: 1280 }, { width: 390, height: 844 }].flatMap((size) => ["light", "dark"].map((scheme) => ({ ...size, scheme })));

let browser;
before(async () => {
  if (pictures) await mkdir(pictures, { recursive: true });
  // Without a sandbox, Chromium also runs as root. All pages are on loopback.
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-dev-shm-usage"],
  });
});
after(() => browser?.close());

// Opens a page, passes it to a function, and fails on console errors and failed requests.
async function at(path, { width = 1280, height = 900, scheme = "light", status = 200, ...more }, look) {
  const context = await browser.newContext({
    baseURL: base,
    viewport: { width, height },
    colorScheme: scheme,
    locale: "en-GB",
    timezoneId: "UTC",
    ...more,
  });
  try {
    const page = await context.newPage();
    const wrong = [];
    page.on("console", (said) => ["error", "warning"].includes(said.type()) && !(status >= 400 && said.text().includes(`status of ${status}`)) && wrong.push(said.text()));
    page.on("pageerror", (error) => wrong.push(String(error)));
    page.on("dialog", (dialog) => (wrong.push(`dialog: ${dialog.message()}`), dialog.dismiss()));
    page.on("requestfailed", (request) => wrong.push(`${request.url()}: ${request.failure().errorText}`));
    page.on("response", (answer) => answer.status() >= 400 && answer.status() !== status && wrong.push(`${answer.status()} ${answer.url()}`));
    page.on("request", (request) => request.url().startsWith(base) || wrong.push(`asset from outside: ${request.url()}`));
    await page.goto(path);
    const given = await look(page, context);
    assert.deepEqual(wrong, [], path);
    return given;
  } finally {
    await context.close();
  }
}

// All findings of axe, of every severity.
async function accessible(page) {
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => window.axe.run());
  const found = violations.map(({ id, impact, nodes }) => `${impact} ${id}: ${nodes.map((node) => node.html).join(" | ")}`);
  assert.deepEqual(found, []);
}

async function picture(page, name, how = { fullPage: true }) {
  if (pictures) await page.screenshot({ path: `${pictures}/${name}.png`, ...how });
}

if (pictures) {
  const top = (height) => ({ clip: { x: 0, y: 0, width: 1280, height } });
  test("pictures for the README", async () => {
    const shown = probes.find(({ name }) => name === "upstream");
    await at(`/evidence/${shown.id}`, { height: 1120 }, (page) => picture(page, "evidence", top(1110)));
    await at("/?search=.example", { height: 760 }, (page) => picture(page, "landing", top(740)));
  });
}

// No element overflows the window on the right.
async function fits(page) {
  const [wide, room] = await page.evaluate(() => [document.documentElement.scrollWidth, window.innerWidth]);
  assert.ok(wide <= room, `${wide} pixels in a window of ${room}`);
}

const marked = (page, state) => page.locator(`.chain .${state} .name`).allTextContents();

describe("the page of a probe", () => {
  for (const probe of probes) {
    for (const look of LOOKS) {
      test(`names the link: ${probe.name}, ${look.width} ${look.scheme}`, () =>
        at(`/evidence/${probe.id}`, look, async (page) => {
          assert.equal(await page.getByRole("heading", { level: 1 }).textContent(), probe.headline);
          assert.deepEqual(await marked(page, "broken"), probe.broken ? [probe.broken] : []);
          assert.equal(await page.getByText(probe.shows).first().isVisible(), true, probe.shows);
          await fits(page);
          await accessible(page);
          await picture(page, `${probe.name}-${look.width}-${look.scheme}`);
        }));
    }
    test(`needs no script: ${probe.name}`, () =>
      at(`/evidence/${probe.id}`, { javaScriptEnabled: false }, async (page) => {
        assert.equal(await page.getByRole("heading", { level: 1 }).textContent(), probe.headline);
        const buttons = await page.getByRole("button").allTextContents();
        assert.deepEqual(buttons, ["Probe again"], "a button that would do nothing");
      }));
  }

  test("leads through the probes of its target, and probes again", () =>
    at(`/evidence/${probes.find(({ name }) => name === "upstream").id}`, {}, async (page) => {
      const shown = () => page.url().split("/").pop();
      const first = shown();
      assert.equal(await page.locator(".bars li").count(), 25);
      const [before, current] = await page.evaluate(() => {
        const bars = [...document.querySelectorAll(".bars li")];
        const current = bars.findIndex((bar) => bar.querySelector("[aria-current]"));
        return [bars.slice(0, current).map((bar) => bar.className), current];
      });
      assert.equal(current, 12);
      assert.ok(before.every((name) => name === "healthy"), before);
      await page.getByRole("link", { name: /^Previous|^← Previous/ }).click();
      await page.waitForURL((url) => !url.pathname.endsWith(first));
      assert.equal(await page.getByRole("heading", { level: 1 }).textContent(), "All links are healthy");
      await page.getByRole("link", { name: /Next stored probe/ }).click();
      await page.waitForURL((url) => url.pathname.endsWith(first));
      assert.match(await page.locator("table.changes").textContent(), /Status200502/);
      await page.locator(".bars a").first().click();
      await page.waitForURL((url) => !url.pathname.endsWith(first));
      await page.getByRole("link", { name: /Latest stored probe/ }).click();
      await page.waitForURL((url) => !url.pathname.endsWith(first));
      const latest = shown();
      await page.getByRole("button", { name: "Probe again" }).click();
      await page.waitForURL((url) => !url.pathname.endsWith(latest) && !url.pathname.endsWith("/again"));
      assert.equal(await page.getByRole("heading", { level: 1 }).textContent(), "Most likely broken: between the edge and app");
      assert.equal(await page.locator("table.incidents tbody tr").count(), 1);
    }));

  // WCAG 1.4.11: shapes that carry information have a contrast of at least 3 with what is around them.
  for (const scheme of ["light", "dark"]) {
    test(`has visible shapes: ${scheme}`, () =>
      at("/", { scheme }, async (page) => {
        const weak = await page.evaluate(() => {
          const luminance = (colour) => {
            const parts = colour.match(/[\d.]+/g).slice(0, 3).map((part) => part / 255);
            const [r, g, b] = parts.map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
            return 0.2126 * r + 0.7152 * g + 0.0722 * b;
          };
          const style = getComputedStyle(document.documentElement);
          const names = ["grey", "yellow", "orange", "blue", "purple", "brown", "teal", "red", "pink", "dark-red", "mark-healthy", "unseen"];
          const probe = document.body.appendChild(document.createElement("span"));
          const value = (name) => {
            probe.style.color = style.getPropertyValue(`--${name}`);
            return luminance(getComputedStyle(probe).color);
          };
          const found = [];
          for (const name of names) {
            for (const ground of ["ground", "card"]) {
              const [low, high] = [value(name), value(ground)].sort((a, b) => a - b);
              const contrast = (high + 0.05) / (low + 0.05);
              if (!(contrast >= 3)) found.push(`${name} on ${ground}: ${contrast}`);
            }
          }
          probe.remove();
          return found;
        });
        assert.deepEqual(weak, []);
      }));
  }

  for (const [name, links] of [
    ["ping", ["Exporter", "DNS", "Network", "Edge"]],
    ["port", ["Exporter", "DNS", "Network", "Edge"]],
    ["tls12", ["Exporter", "DNS", "Network", "TLS", "Edge", "Upstream", "Origin", "Content"]],
  ]) {
    test(`shows only the links that its prober can judge: ${name}`, () =>
      at(`/evidence/${probes.find((probe) => probe.name === name).id}`, {}, async (page) => {
        assert.deepEqual(await page.locator(".chain .name").allTextContents(), links);
        const isSilent = (await page.locator(".chain").textContent()).includes("no response");
        assert.equal(isSilent, name === "port", "only a failed probe without data");
      }));
  }

  test("hands on the incident report and the command", () =>
    at(`/evidence/${probes.find(({ name }) => name === "upstream").id}`, {}, async (page, context) => {
      await context.grantPermissions(["clipboard-read", "clipboard-write"]);
      for (const id of ["incident_report", "curl"]) {
        const whole = page.locator("details", { has: page.locator(`#${id}`) });
        await whole.locator("summary").click();
        await whole.getByRole("button", { name: "Copy" }).click();
        await whole.getByRole("button", { name: "Copied" }).waitFor();
        const copied = await page.evaluate(() => navigator.clipboard.readText());
        assert.equal(copied, await page.locator(`#${id}`).textContent());
      }
    }));

  for (const probe of probes) {
    test(`gives its JSON and its HTTP archive: ${probe.name}`, () =>
      at(`/evidence/${probe.id}`, {}, async (page) => {
        const saved = async (name) => {
          const [download] = await Promise.all([page.waitForEvent("download"), page.getByRole("link", { name }).click()]);
          assert.match(download.suggestedFilename(), new RegExp(`^glassbox-${probe.id}\\.${name.toLowerCase()}$`));
          return JSON.parse(await readFile(await download.path(), "utf8"));
        };
        const evidence = await saved("JSON");
        assert.equal(evidence.id, probe.id);
        const archive = await saved("HAR");
        valid(archive);
        const edge = archive.log.entries.filter(({ pageref }) => pageref === "edge");
        assert.equal(edge.length, evidence.target.exchanges.length);
        edge.forEach((entry, place) => sameTimes(entry, evidence.target.exchanges[place].phases));
      }));
  }
});

// The JSON schema of HAR 1.2 that its validators use.
function valid(archive) {
  const ajv = new Ajv({ allErrors: true, schemaId: "auto" });
  ajv.addMetaSchema(createRequire(import.meta.url)("ajv/lib/refs/json-schema-draft-06.json"));
  for (const schema of Object.values(harSchema)) ajv.addSchema(schema);
  assert.ok(ajv.validate("har.json#", archive), ajv.errorsText());
}

// The timings of the archive match the phases, in milliseconds. A missing phase is -1, and `connect` includes TLS.
function sameTimes({ time, timings }, phases) {
  const took = (...names) =>
    phases.filter(({ phase }) => names.includes(phase)).reduce((sum, phase) => sum + phase.duration_seconds * 1000, 0);
  const expected = {
    dns: took("resolve"),
    connect: took("connect", "tls"),
    ssl: took("tls"),
    send: took("request"),
    wait: took("processing"),
    receive: took("transfer"),
  };
  for (const [name, milliseconds] of Object.entries(expected)) {
    const told = Math.max(timings[name], 0);
    assert.ok(Math.abs(told - milliseconds) < 1e-6, `${name}: ${told}, phases: ${milliseconds}`);
  }
  const { ssl: _inConnect, ...rest } = timings;
  const sum = Object.values(rest).reduce((sum, value) => sum + Math.max(value, 0), 0);
  assert.ok(Math.abs(sum - time) < 1e-6, `phases ${sum}, time ${time}`);
}

describe("the page of evidence that is gone", () => {
  for (const look of LOOKS) {
    test(`says why, ${look.width} ${look.scheme}`, () =>
      at("/evidence/0123456789abcdef", { ...look, status: 404 }, async (page) => {
        assert.equal(await page.getByRole("heading", { level: 1 }).textContent(), "Evidence not found");
        await fits(page);
        await accessible(page);
        await picture(page, `gone-${look.width}-${look.scheme}`);
      }));
  }
});

describe("the landing page", () => {
  for (const look of LOOKS) {
    test(`shows what is broken first, ${look.width} ${look.scheme}`, () =>
      at("/", look, async (page) => {
        const words = await page.locator("#keys tbody tr .verdict").allTextContents();
        const kinds = words.map((word) => (/^masked/.test(word) ? 1 : /^healthy/.test(word) ? 2 : 0));
        assert.deepEqual(kinds, [...kinds].sort(), "failing, masked, healthy");
        assert.equal(kinds[0], 0);
        await fits(page);
        await accessible(page);
        await picture(page, `landing-${look.width}-${look.scheme}`);
      }));
  }

  test("finds a target", () =>
    at("/", {}, async (page) => {
      const all = await page.locator("#keys tbody tr").count();
      await page.getByRole("searchbox").fill("shop");
      await page.keyboard.press("Enter");
      await page.waitForURL(/search=shop/);
      const found = await page.locator("#keys tbody tr").count();
      assert.ok(0 < found && found < all, `${found} of ${all}`);
    }));

  test("probes by its form, and leads to the evidence", () =>
    at("/", {}, async (page) => {
      await page.getByLabel("Module").selectOption(module);
      await page.getByLabel("Probe now").fill(wellUrl);
      await page.getByRole("button", { name: "Probe" }).click();
      await page.waitForURL(/\/evidence\//);
      assert.equal(await page.getByRole("heading", { level: 1 }).textContent(), "All links are healthy");
    }));

  test("reads itself anew while somebody looks", () =>
    at("/", {}, async (page) => {
      await page.clock.install();
      await page.goto("/");
      const before = await page.locator("#keys tbody tr").count();
      const probed = await fetch(`${base}/probe?module=${module}&target=${encodeURIComponent(`${wellUrl}new`)}`);
      assert.equal(probed.status, 200);
      await page.clock.fastForward(11_000);
      await page.locator("#keys tbody tr").nth(before).waitFor();
    }));

  test("is walked by keyboard alone, from the search to the evidence and back", () =>
    at("/", {}, async (page) => {
      const focused = () => page.evaluate(() => document.activeElement.outerHTML.slice(0, 200));
      // The focus is visible on every element.
      const seen = () =>
        page.evaluate(() => {
          const { outlineStyle, outlineWidth } = getComputedStyle(document.activeElement);
          return outlineStyle !== "none" && outlineWidth !== "0px";
        });
      const tabTo = async (selector) => {
        for (let step = 0; step < 30; step += 1) {
          await page.keyboard.press("Tab");
          assert.ok(await seen(), `no outline at ${await focused()}`);
          if (await page.evaluate((selector) => document.activeElement.matches(selector), selector)) return;
        }
        assert.fail(`30 steps, and not at ${selector}`);
      };
      await tabTo("input[type=search]");
      await tabTo("#keys a");
      await page.keyboard.press("Enter");
      await page.waitForURL(/\/evidence\//);
      await tabTo("a[href$='.har']");
      await tabTo("summary");
      await page.keyboard.press("Enter");
      await page.locator("pre").first().waitFor({ state: "visible" });
      await page.goBack();
      await page.waitForURL(`${base}/`);
    }));
});

describe("what a stranger writes stays text", () => {
  for (const { id, path } of hostile.map((id) => ({ id, path: `/evidence/${id}` })).concat({ id: "landing", path: "/?search=<b>" }, { id: "all", path: "/" })) {
    test(path, () =>
      at(path, {}, async (page) => {
        // Every injected element has this mark in its name, and every injected script would set it.
        assert.equal(await page.locator("[data-hostile], hostile, [onerror], [onload], iframe, img, form[action*=hostile]").count(), 0, id);
        assert.equal(await page.evaluate(() => window.hostile), undefined);
        assert.equal(await page.evaluate(() => document.querySelectorAll("script").length), 1);
        const links = await page.evaluate(() => [...document.links].map(({ protocol }) => protocol));
        assert.deepEqual([...new Set(links)], ["http:"]);
        if (id !== "landing") assert.ok((await page.locator("body").textContent()).includes("<hostile"), "it is shown as text");
        await picture(page, `hostile-${id}`);
      }));
  }
});
