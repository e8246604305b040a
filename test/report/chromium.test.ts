/**
 * Reports in headless Chromium, where there is one: FLTAC_CHROMIUM names it, else the usual names on PATH are tried.
 */
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { chromium, type Browser, type Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { writeReport } from '../../src/report/report.js';
import { writeRun } from './support.js';

function findChromium(): string | undefined {
  const named = process.env['FLTAC_CHROMIUM'];
  if (named !== undefined) return named;
  for (const name of ['chromium', 'chromium-browser', 'google-chrome']) {
    try {
      const found = execFileSync('which', [name], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();
      if (existsSync(found)) return found;
    } catch {
      // Not on PATH: the next name is tried.
    }
  }
  return undefined;
}

const executablePath = findChromium();
if (executablePath === undefined)
  console.warn('no Chromium on PATH or in FLTAC_CHROMIUM: reports are not opened in one');

describe.skipIf(executablePath === undefined)('in a browser', () => {
  let root: string;
  let browser: Browser;
  beforeAll(async () => {
    root = await mkdtemp(path.join(os.tmpdir(), 'fltac-chromium-'));
    // The sandbox needs rights that containers and root do not have; the page is our own file.
    browser = await chromium.launch({ executablePath: executablePath!, args: ['--no-sandbox'] });
  });
  afterAll(async () => {
    await browser.close();
    await rm(root, { recursive: true });
  });

  async function open(file: string, scheme: 'light' | 'dark' = 'light'): Promise<{ page: Page; faults: string[] }> {
    const page = await browser.newPage({ colorScheme: scheme, viewport: { width: 1200, height: 900 } });
    const faults: string[] = [];
    page.on('console', (message) => faults.push(`console ${message.type()}: ${message.text()}`));
    page.on('pageerror', (error) => faults.push(`error: ${error.message}`));
    page.on('request', (request) => {
      const address = request.url();
      if (address !== pathToFileURL(file).href && !address.startsWith('data:')) faults.push(`request: ${address}`);
    });
    await page.goto(pathToFileURL(file).href);
    return { page, faults };
  }

  it.each([1, 5])('a report of %d runs shows every figure, without an error and without a request', async (count) => {
    const folders = await Promise.all(
      Array.from({ length: count }, (_, i) =>
        writeRun(path.join(root, `${count}-${i}`), { rounds: 4, clients: 6, seed: i + 1 }),
      ),
    );
    const report = await writeReport(folders);
    const { page, faults } = await open(report.page);
    for (const id of report.figures) {
      const box = await page.locator(`#${id} .live svg`).boundingBox();
      expect(box?.width, id).toBeGreaterThan(300);
      expect(box?.height, id).toBeGreaterThan(80);
    }
    for (const { figure, reason } of report.absent) {
      expect(await page.locator(`#${figure}`).textContent()).toContain(reason);
    }
    const pictures = page.locator('.live svg');
    for (let i = 0; i < (await pictures.count()); i += 1) {
      expect(await pictures.nth(i).getAttribute('aria-label')).toMatch(/\w{4}/);
    }
    expect(faults).toEqual([]);
  });

  it('sliders go through the rounds, marks say what they are, and dark colours can be had', async () => {
    const folder = await writeRun(path.join(root, 'moving'), { rounds: 4, clients: 6 });
    const { page, faults } = await open((await writeReport([folder])).page);
    const figure = page.locator('#run-1-adapters');
    const picture = () => figure.locator('.live').innerHTML();
    expect(await figure.locator('output').textContent()).toBe('round 4');
    const last = await picture();
    await figure.locator('input[type=range]').fill('0');
    expect(await figure.locator('output').textContent()).toBe('round 1');
    expect(await picture()).not.toBe(last);
    await figure.locator('.live [aria-label=dot] path').first().hover();
    expect(await page.locator('#tip').textContent()).toMatch(/^client \d, \w+, cluster \d/);
    const ground = () => page.evaluate('getComputedStyle(document.body).backgroundColor');
    const light = await ground();
    await page.click('#theme');
    expect(await ground()).not.toBe(light);
    expect(faults).toEqual([]);
  });

  it('follows the light or dark of the system, and fits a narrow screen', async () => {
    const folder = await writeRun(path.join(root, 'dark'), { rounds: 2, clients: 4 });
    const { page, faults } = await open((await writeReport([folder])).page, 'dark');
    expect(await page.evaluate('getComputedStyle(document.documentElement).colorScheme')).toBe('dark');
    await page.setViewportSize({ width: 360, height: 740 });
    expect(await page.evaluate('document.documentElement.scrollWidth')).toBeLessThanOrEqual(360);
    expect(faults).toEqual([]);
  });
});
